"""Three ways to embed shards, and their rates: the command, a plain loop, and clip-retrieval."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cpp_pipe.stages.contract import Silent, Spent

from .clip_retrieval_inference import cpu_seconds

RSS_EVERY_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A model, and how it embeds."""

    model: str
    files: Mapping[str, Path]
    """`weights`, and `model_config` if open_clip does not have the model."""
    device: str
    batch: int
    encoding_seconds: float = 3.0
    """How long encoding is timed."""
    settings: Mapping[str, Any]
    """Settings of the stage that are not default: `precision`, `scaled_jpeg`."""

    def load(self) -> Any:
        """The encoder that the command uses."""
        from cpp_pipe.stages.encoding.encoder import load_encoder

        name = self.files["weights"].name
        return load_encoder(self.model, name, files=self.files, device=self.device, **self.settings)


class Timer(Silent):
    """Progress that notes when the model is loaded, and what time is spent on."""

    def __init__(self) -> None:
        self.began = self.cpu_began = 0.0
        self.spent: Counter[str] = Counter()
        self.counts: list[tuple[float, int]] = []

    def start(self, what: str, total: int, unit: str) -> None:
        """Notes the start of the first count."""
        self.began = self.began or time.perf_counter()
        self.cpu_began = self.cpu_began or cpu_seconds()

    def advance(
        self, done: int, *, skipped: int = 0, note: str = "", spent: Spent | None = None
    ) -> None:
        """Adds up the time spent, and notes how many images are done by now."""
        self.spent.update(spent or {})
        before = self.counts[-1][1] if self.counts else 0
        self.counts.append((time.perf_counter(), before + done))

    def steady_rate(self) -> float:
        """Images a second from a fifth of the images to nine tenths, when all processes work."""
        most = self.counts[-1][1]
        inside = [each for each in self.counts if 0.2 * most <= each[1] <= 0.9 * most]
        (first, before), (last, after) = (inside or self.counts)[0], (inside or self.counts)[-1]
        return (after - before) / (last - first) if last > first else 0.0


def command(bench: Bench, paths: Sequence[Path], workers: int) -> dict[str, Any]:
    """Rates of `cpp-pipe embed` in this process, after the model is loaded."""
    from cpp_pipe.pipeline.commands.options import Common, embed_table, open_plan

    config = bench.files.get("model_config")
    timer = Timer()
    with tempfile.TemporaryDirectory(prefix="cpp-pipe-embed-") as store, watched_bytes() as peak:
        common = Common(
            store=store,
            run="benchmark",
            model=None if config else bench.model,
            pretrained=str(bench.files["weights"]),
            model_config=config and str(config),
            device=bench.device,
            workers=workers,
            batch_size=bench.batch,
        )
        plan = open_plan(
            common,
            begins=True,
            data={"shards": tuple(map(str, paths))},
            embed={**embed_table(common), **bench.settings},
        )
        plan = replace(plan, runtime=replace(plan.runtime, progress=timer), say=lambda line: None)
        rows = plan.make("embeddings").rows
        measured = rates(rows, timer.began, timer.cpu_began)
    steady = timer.steady_rate() or measured["per_second"]
    spent = dict(timer.spent)
    return {**measured, "steady_per_second": steady, "spent": spent, "peak_bytes": peak[0]}


@contextmanager
def watched_bytes() -> Iterator[list[int]]:
    """Peak memory, in a list of one, of this process and its descendants during the block."""
    peak = [0]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(RSS_EVERY_SECONDS):
            peak[0] = max(peak[0], tree_bytes(os.getpid()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


def tree_bytes(root: int) -> int:
    """Resident bytes of a process and its descendants; shared memory counts for each of them."""
    held = resident(root)
    for task in Path(f"/proc/{root}/task").iterdir():
        try:
            children = (task / "children").read_text(encoding="ascii").split()
        except OSError:
            continue  # the thread has ended
        held += sum(tree_bytes(int(child)) for child in children)
    return held


def resident(pid: int) -> int:
    """Resident bytes of a process; 0 if it has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def loop(bench: Bench, paths: Sequence[Path], workers: int) -> dict[str, Any]:
    """Rates of what people write: webdataset, a DataLoader with `workers`, open_clip."""
    import open_clip
    import torch
    from torch.utils.data import DataLoader
    from webdataset.compat import WebDataset

    if "model_config" in bench.files:
        open_clip.add_model_config(bench.files["model_config"])
    network, _, preprocess = open_clip.create_model_and_transforms(
        bench.model, pretrained=str(bench.files["weights"]), device=bench.device
    )
    network.eval()
    # By default a worker without a shard is an error.
    dataset = WebDataset(list(map(str, paths)), shardshuffle=False, empty_check=False)
    dataset = dataset.decode("pilrgb").to_tuple("jpg", "__key__").map_tuple(preprocess, str)
    kind = torch.device(bench.device).type
    rows, keys = [], []
    began, cpu_began = time.perf_counter(), cpu_seconds()
    batches: Any = dataset.batched(bench.batch)
    loader = DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=kind == "cuda",
    )
    is_coarse = bench.settings.get("precision") == "bf16"
    with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=is_coarse):
        for pixels, batch_keys in loader:
            x = network.encode_image(pixels.to(bench.device, non_blocking=True))
            rows.append((x / x.norm(dim=-1, keepdim=True)).half().cpu().numpy())
            keys += batch_keys
    with tempfile.TemporaryFile() as file:
        np.save(file, np.concatenate(rows))
    return rates(len(keys), began, cpu_began)


def clip_retrieval(bench: Bench, paths: Sequence[Path], python: Path) -> dict[str, Any]:
    """Rates of clip-retrieval's own inference, by the interpreter of an environment that has it."""
    files = [str(bench.files[name]) for name in ("weights", "model_config") if name in bench.files]
    script = Path(__file__).with_name("clip_retrieval_inference.py")
    line = [str(python), str(script), bench.model, str(bench.batch), ",".join(files)]
    unset = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    with watched_bytes() as peak:
        output = subprocess.check_output([*line, *map(str, paths)], env=environment, text=True)
    return {**json.loads(output.splitlines()[-1]), "peak_bytes": peak[0]}


def rates(images: int, began: float, cpu_began: float) -> dict[str, Any]:
    """Images per second, and CPU seconds per image, until now."""
    return {
        "images": images,
        "per_second": images / (time.perf_counter() - began),
        "cpu_seconds": (cpu_seconds() - cpu_began) / images,
    }


def random_weights(model: str, folder: Path) -> Path:
    """Random weights: encoding takes as long as with trained ones."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = open_clip.create_model(model)
    path = folder / f"{model}.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path)
    return path
