"""clip-retrieval's own inference over shards, in an environment that has it but not cpp-pipe.

    PYTHON clip_retrieval_inference.py MODEL BATCH WEIGHTS[,CONFIG] SHARDS...

The environment: `pip install clip-retrieval 'setuptools<70'` (version 2.45 needs pkg_resources).
Prints one line of JSON as `embed_ways.rates` gives it. It is timed after the model is loaded and
has run once. `benchmarks.embed --clip-retrieval PYTHON` starts it.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

WORKERS = 2
"""Processes that decode, beside the one that encodes."""


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    """Embeds the shards, and prints the rates."""
    import numpy
    import open_clip
    from all_clip import load_clip  # pyright: ignore[reportMissingImports]
    from clip_retrieval.clip_inference.worker import (  # pyright: ignore[reportMissingImports]
        worker,
    )

    model, batch, files, *shards = sys.argv[1:]
    weights, *configs = files.split(",")
    for config in configs:
        open_clip.add_model_config(config)
    loaded = {
        "clip_model": f"open_clip:{model}/{weights}",
        "use_jit": False,
        "warmup_batch_size": int(batch),
        "clip_cache_path": None,
    }
    load_clip(**loaded)  # it is kept, so the worker does not load it again
    with tempfile.TemporaryDirectory() as folder:
        began, cpu_began = time.perf_counter(), cpu_seconds()
        worker(
            tasks=[0],
            input_dataset=shards,
            output_folder=folder,
            output_partition_count=1,
            input_format="webdataset",
            batch_size=int(batch),
            num_prepro_workers=WORKERS,
            enable_text=False,
            clip_model=loaded["clip_model"],
            use_jit=False,
        )
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu_began
        images = sum(len(numpy.load(path)) for path in Path(folder, "img_emb").iterdir())
    line = {"images": images, "per_second": images / seconds, "cpu_seconds": cpu / images}
    print("\n" + json.dumps(line))


if __name__ == "__main__":
    main()
