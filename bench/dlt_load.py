"""Loads a CSV by dlt. Run by an interpreter that has it, not by ours: see peer.py."""

import sys

import dlt
import pyarrow as pa
from pyarrow import csv


@dlt.resource(name="plays")
def rows(path):
    types = {"played_at": pa.timestamp("us", "UTC"), "ms_played": pa.int64()}
    with csv.open_csv(
        path, csv.ReadOptions(block_size=4 << 20), convert_options=csv.ConvertOptions(column_types=types)
    ) as reader:
        yield from reader


file, url, pipelines = sys.argv[1:]
pipeline = dlt.pipeline(
    "peer", destination=dlt.destinations.postgres(url), dataset_name="peer", pipelines_dir=pipelines
)
pipeline.run(rows(file), loader_file_format="parquet", write_disposition="append")
