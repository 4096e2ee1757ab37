"""Scores against labels, by a process of its own: they take every embedding in memory."""

import json
import subprocess
import sys
import threading

from .models import EvaluationState
from .opened import Opened

MOST_SCORED = 500_000
"""Rows that are scored without being asked for: k-means over them takes a minute."""


class Evaluating:
    """The evaluation of a run, one at a time; begun by the first who asks, kept for each state."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, EvaluationState] = {}
        self._process: subprocess.Popen[str] | None = None

    def look(self, opened: Opened) -> EvaluationState:
        """How far it is; answers at once."""
        with self._lock:
            found = self._found.get(opened.generation)
            if found is not None:
                return found
            found = _none_of(opened)
            if found is None:
                found = EvaluationState(state="working", detail="scoring against labels")
                threading.Thread(target=self._work, args=(opened,), daemon=True).start()
            self._found[opened.generation] = found
            return found

    def close(self) -> None:
        """Ends what is being worked out."""
        if self._process is not None:
            self._process.kill()

    def _work(self, opened: Opened) -> None:
        name, root = opened.run.record.name, str(opened.run.store.root)
        command = [sys.executable, "-m", "cpp_pipe", "eval", "--json", "--run", name]
        with subprocess.Popen(
            [*command, "--store", root], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as self._process:
            out, err = self._process.communicate()
        if self._process.returncode:
            lines = err.strip().splitlines() or ["it ended without a word"]
            found = EvaluationState(state="absent", detail=lines[-1].removeprefix("cpp-pipe: "))
        else:
            found = EvaluationState(state="ready", detail="", scores=json.loads(out))
        self._found[opened.generation] = found


def _none_of(opened: Opened) -> EvaluationState | None:
    """Why a run is not scored, if it is not."""
    if opened.embeddings.rows > MOST_SCORED:
        why = f"more than {MOST_SCORED:,} pictures are scored on demand: `cpp-pipe eval`"
        return EvaluationState(state="absent", detail=why)
    label = dict(opened.run.record.settings.get("data", {})).get("label", "cls")
    if label == "cls" and not opened.labels[1]:
        why = "no picture has a label: `cpp-pipe eval --labels FILE.csv` scores by a table"
        return EvaluationState(state="absent", detail=why)
    return None
