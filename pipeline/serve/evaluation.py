"""The evaluation of a run against labels, in a process of its own: it needs all embeddings."""

import json
import logging
import subprocess
import sys
import threading

from ..config import settings_of
from ..view.labels import has_folders
from .models import EvaluationState
from .open_run import OpenRun

log = logging.getLogger(__name__)

MAX_ROWS = 500_000
"""Rows of the largest run that is scored: k-means over that many takes a minute."""


class Evaluation:
    """The scores of a run: started by the first request, kept until the run changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, EvaluationState] = {}
        self._process: subprocess.Popen[str] | None = None

    def state(self, opened: OpenRun) -> EvaluationState:
        """The scores, or why there are none yet; returns at once."""
        with self._lock:
            state = self._states.get(opened.generation)
            if state is not None:
                return state
            state = _find_obstacle(opened)
            if state is None:
                state = EvaluationState(state="working", detail="scoring against labels")
                threading.Thread(target=self._score, args=(opened,), daemon=True).start()
            self._states[opened.generation] = state
            return state

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()

    def _score(self, opened: OpenRun) -> None:
        name, root = opened.run.record.name, str(opened.run.store.root)
        command = [sys.executable, "-m", "cpp_pipe", "eval", "--json", "--run", name]
        with subprocess.Popen(
            [*command, "--store", root], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as self._process:
            out, err = self._process.communicate()
        if self._process.returncode:
            lines = err.strip().splitlines() or ["`cpp-pipe eval` failed without a message"]
            reason = lines[-1].removeprefix("cpp-pipe: ")
            log.warning("the run is not scored: %s", reason)
            reason = reason.replace(root, opened.run.public_store_name)
            state = EvaluationState(state="absent", detail=opened.places.shorten(reason))
        else:
            state = EvaluationState(state="ready", detail="", scores=json.loads(out))
        self._states[opened.generation] = state


def _find_obstacle(opened: OpenRun) -> EvaluationState | None:
    """The state that says why a run is not scored; None if it can be."""
    if opened.embeddings.rows > MAX_ROWS:
        command = opened.run.public_command("eval")
        reason = f"the run has more than {MAX_ROWS:,} images: run `{command}`"
        return EvaluationState(state="absent", detail=reason)
    label = settings_of(opened.run.store, opened.run.record).data.label
    if label == "cls" and not opened.labels[1]:
        labels = (
            ("--label", "folder") if has_folders(opened.embeddings) else ("--labels", "FILE.csv")
        )
        reason = f"no image has a label: run `{opened.run.public_command('eval', *labels)}`"
        return EvaluationState(state="absent", detail=reason)
    return None
