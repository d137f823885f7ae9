"""What the peers' versions of the music job share: the raw columns, and where the tables go."""
import shutil
from pathlib import Path

COLUMNS = {
    "events": {
        "artist": "STRING", "auth": "STRING", "firstName": "STRING", "gender": "STRING", "itemInSession": "INT",
        "lastName": "STRING", "length": "DOUBLE", "level": "STRING", "location": "STRING", "method": "STRING",
        "page": "STRING", "registration": "DOUBLE", "sessionId": "BIGINT", "song": "STRING", "status": "INT",
        "ts": "BIGINT", "userAgent": "STRING", "userId": "STRING",
    },
    "songs": {
        "num_songs": "INT", "artist_id": "STRING", "artist_latitude": "DOUBLE", "artist_longitude": "DOUBLE",
        "artist_location": "STRING", "artist_name": "STRING", "song_id": "STRING", "title": "STRING",
        "duration": "DOUBLE", "year": "INT",
    },
}


class OutFolder:
    """The folder that holds a peer's tables, empty at first: one folder of Parquet files a table."""

    def __init__(self, root):
        self.root = Path(root)
        shutil.rmtree(self.root, ignore_errors=True)

    def folder(self, table):
        folder = self.root / table
        folder.mkdir(parents=True, exist_ok=True)
        return folder
