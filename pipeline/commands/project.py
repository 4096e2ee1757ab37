"""The command that refines embeddings: project."""

from . import options
from .app import subcommands
from .options import (
    ALONE,
    DEFAULT_RUN,
    DEFAULT_STORE,
    AddressFlag,
    ConfigFlag,
    DeviceFlag,
    EngineFlag,
    RunFlag,
    SetFlag,
    StoreFlag,
    WaitFlag,
    WorkerFlag,
    WorkersFlag,
    open_plan,
)

app = subcommands()


@app.command()
def project(
    workers: WorkersFlag = None,
    worker: WorkerFlag = ALONE,
    wait: WaitFlag = True,
    engine: EngineFlag = "local",
    address: AddressFlag = None,
    device: DeviceFlag = "auto",
    config: ConfigFlag = None,
    sets: SetFlag = None,
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Refine all embeddings with the trained heads.

    \b
      cpp-pipe project
    """
    plan = open_plan(
        store,
        run,
        config,
        sets,
        device=device,
        workers=workers,
        worker=worker,
        wait=wait,
        engine=engine,
        address=address,
    )
    with options.or_left_to_others():
        plan.make("features")
