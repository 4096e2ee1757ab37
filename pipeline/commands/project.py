"""The command that refines embeddings: project."""

from .app import subcommands
from .options import MAKING, WORKERS, Common, end_if_left_to_others, open_plan, takes
from .output import print_next

app = subcommands()


@app.command()
@takes(*WORKERS, *MAKING)
def project(common: Common) -> None:
    """Refine all embeddings.

    The refined embeddings are called features. Clusters and searches by image compare them.

    \b
      cpp-pipe project
    """
    plan = open_plan(common, train={})
    with end_if_left_to_others():
        features = plan.make("features")
    print_next(common, ["select-k"], result=features.folder)
