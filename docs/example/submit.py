"""Submits a job's folder to a scheduler and watches the run to its end.

    pip install grpcio grpcio-tools
    LAKEWRIGHT_SCHEDULER=localhost:50040 LAKEWRIGHT_CA=ca.pem LAKEWRIGHT_TOKEN=lw_... python submit.py jobs/music

The client is generated from the contract, proto/proto/lakewright/v1/jobs.proto, when the program starts.
"""

import os
import sys
import uuid
from pathlib import Path

import grpc

CONTRACT = Path(__file__).resolve().parents[2] / "proto" / "proto"
sys.path.append(str(CONTRACT))
messages, services = grpc.protos_and_services("lakewright/v1/jobs.proto")


def job_files(folder: Path) -> dict[str, str]:
    """The text of the job's files by their path in its folder."""
    names = [path for path in folder.rglob("*") if path.suffix in (".toml", ".sql", ".yaml")]
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in names}


def channel() -> grpc.Channel:
    """A connection that shows the token with every call."""
    address = os.environ["LAKEWRIGHT_SCHEDULER"].removeprefix("https://")
    tls = grpc.ssl_channel_credentials(Path(os.environ["LAKEWRIGHT_CA"]).read_bytes())
    token = grpc.access_token_call_credentials(os.environ["LAKEWRIGHT_TOKEN"])
    return grpc.secure_channel(address, grpc.composite_channel_credentials(tls, token))


def main() -> int:
    with channel() as connection:
        service = services.JobServiceStub(connection)
        # The same key is the same run: a call whose answer was lost may be made again.
        request = messages.SubmitRunRequest(files=job_files(Path(sys.argv[1])), idempotency_key=str(uuid.uuid4()))
        run = service.SubmitRun(request, timeout=60)
        print(f"run {run.run_id} has number {run.sequence}")
        for event in service.WatchRun(messages.WatchRunRequest(run_id=run.run_id)):
            kind = event.WhichOneof("event")
            if kind == "step_finished":
                print(f"{event.step_finished.table}: {event.step_finished.rows_out} rows")
            elif kind == "ended":
                print(messages.RunState.Name(event.ended.state))
                return 0 if event.ended.state == messages.RUN_STATE_SUCCEEDED else 1
    return 3


if __name__ == "__main__":
    sys.exit(main())
