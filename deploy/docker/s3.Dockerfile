# An S3 server for trying things out: MiniStack, an emulator in Python. Not for data that anybody needs.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 lakewright \
    && useradd --uid 1000 --gid 1000 --create-home lakewright \
    && mkdir /objects /project /secrets \
    && chown lakewright:lakewright /objects /project /secrets
COPY deploy/docker/requirements.txt deploy/docker/wheels* /wheels/
# Where deploy/docker/stage has put the packages, no network is needed.
RUN python3 -m venv /opt/s3 \
    && if ls /wheels/*.whl >/dev/null 2>&1; \
       then /opt/s3/bin/pip install --no-index --find-links /wheels -r /wheels/requirements.txt; \
       else /opt/s3/bin/pip install -r /wheels/requirements.txt; fi
COPY deploy/docker/prepare.py /opt/s3/prepare.py
ENV PATH=/opt/s3/bin:$PATH PYTHONUNBUFFERED=1 \
    AUTH=true BIND_HOST=0.0.0.0 GATEWAY_PORT=9000 LOG_LEVEL=WARNING \
    PERSIST_STATE=1 STATE_DIR=/objects/state S3_PERSIST=1 S3_DATA_DIR=/objects/s3
USER lakewright
EXPOSE 9000
HEALTHCHECK --interval=2s --timeout=2s --start-period=30s --retries=5 \
    CMD ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9000), 1).close()"]
CMD ["ministack"]
