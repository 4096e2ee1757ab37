"""The rules of the project: layout, imports, size, and what no file may hold."""

import ast
import dataclasses
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import open_clip
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cpp_pipe.pipeline.config import SHIPPED, Settings, read_tables
from cpp_pipe.stages.algorithms.training_config import REFERENCE, TrainingConfig
from cpp_pipe.stages.encoding.vocabulary import expand_templates

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE_DIR: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
FOLDERS = sorted({folder.split("/")[0] for folder in PACKAGE_DIR.values()})
"""Folders at the root whose modules are installed."""


def settings_in(path: Path) -> Settings:
    """The settings of a config; raises for an unknown table or key."""
    return Settings.from_tables(read_tables(path), str(path))


LONGEST_MODULE = 400
"""Lines; the style guide's limit."""

CONFIGS = sorted((ROOT / "configs").glob("*.toml"))

LOCAL_NAMES = {folder for folder in FOLDERS if folder != "cpp_pipe"}
"""Folders that can be imported from the root by accident, which would load every class twice."""

PICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
PICKLING_CALLS = {"torch.load", "torch.save", "pd.read_pickle", "pickle.load", "pickle.loads"}

REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("registry", "npmjs", "org"),
        ("conda", "anaconda", "org"),
        ("download", "pytorch", "org"),
    )
]
"""Hosts of packages, which no file may name; joined so that this file does not either."""

PRINTING = ("pipeline/commands/", "stages/algorithms/estimator.py")
"""Modules that may print; an estimator of scikit-learn prints if it is verbose."""

DATA_SETS = "cifar10 cifar100 cifar20 coco digits imagenet laion-aesthetic reference wikiart"


# Files and syntax trees.


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git tracks or would add, as paths from the root."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        reason = f"git cannot list the files: {listed.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    paths = sorted(Path(name) for name in set(listed.stdout.split("\0")) if name)
    return tuple(
        path for path in paths if (ROOT / path).is_file() and not (ROOT / path).is_symlink()
    )


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Path and syntax tree of each Python file in folders of the root."""
    for path in tracked():
        if path.suffix == ".py" and path.parts[0] in folders:
            yield path, ast.parse((ROOT / path).read_text(), str(path))


def texts() -> Iterator[tuple[Path, str]]:
    """Path and text of each text file."""
    for path in tracked():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            yield path, content.decode()


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each absolute import of a module, also inside functions: dotted name and line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, node.lineno


def dotted(node: ast.expr) -> str:
    """`a.b.c` as written; empty if it is not a plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


# Layout.


def test_no_folder_is_imported_by_its_own_name():
    bare = [
        f"{path}:{line}: import {name}"
        for path, tree in modules(*FOLDERS, "tests", "benchmarks", "tools")
        for name, line in imports(tree)
        if name.split(".")[0] in LOCAL_NAMES
    ]
    assert not bare, "use a relative import, or cpp_pipe.NAME in tests"


def test_every_package_is_listed_and_mapped():
    on_disk = {
        path.parent.as_posix()
        for path in tracked()
        if path.parts[0] in FOLDERS and path.suffix == ".py"
    }
    assert on_disk == set(PACKAGE_DIR.values())
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(PACKAGE_DIR)
    for package, folder in PACKAGE_DIR.items():
        expected = folder if package == "cpp_pipe" else f"cpp_pipe/{folder}"
        assert package == expected.replace("/", ".")
        assert (ROOT / folder / "__init__.py").is_file(), f"{folder} has no __init__.py"


def test_the_page_on_the_layout_names_every_folder_of_code():
    page = (ROOT / "docs" / "layout.md").read_text()
    named = set(re.findall(r"`([\w./-]+)/`", page))
    code = {path.parent for path in tracked() if path.suffix not in (".md", ".png", ".svg")}
    # A folder of tests is named by the folder that it mirrors.
    mirrors = {Path("tests") / folder for folder in code}
    folders = {folder.as_posix() for folder in code - mirrors if folder != Path(".")}
    assert folders <= named, "say in docs/layout.md what these folders are for"
    rooms = re.findall(r"^\*\*`([\w./-]+)/`\*\*", page, flags=re.MULTILINE)
    gone = [room for room in rooms if not (ROOT / room).is_dir()]
    assert not gone, "docs/layout.md describes folders that do not exist"
    files = re.findall(r"`([\w./-]+/[\w-]+\.(?:py|md))`", page)
    missing = [file for file in files if not (ROOT / file).is_file()]
    assert not missing, "docs/layout.md names files that do not exist"


def test_every_file_of_a_package_is_installed():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    package_of = {folder: package for package, folder in PACKAGE_DIR.items()}
    missing = [
        str(path)
        for path in tracked()
        if path.parts[0] in FOLDERS
        and path.suffix != ".py"
        and not any(
            ROOT / path in (ROOT / parent).glob(pattern)
            for parent in path.parents
            for pattern in data.get(package_of.get(parent.as_posix(), ""), [])
        )
    ]
    assert not missing, "add a pattern to [tool.setuptools.package-data]"


def test_the_links_for_editors_match_what_is_installed():
    folder = ROOT / "typings" / "cpp_pipe"
    links = {link.name: link for link in folder.iterdir() if link.name != "__pycache__"}
    own_files = {
        path.name for path in tracked() if path.parts[0] == "cpp_pipe" and len(path.parts) == 2
    }
    assert set(links) == LOCAL_NAMES | own_files
    for name, link in links.items():
        assert link.is_symlink()
        assert not link.readlink().is_absolute()
        target = ROOT / name if name in LOCAL_NAMES else ROOT / "cpp_pipe" / name
        assert link.resolve(strict=True) == target


def test_the_contract_of_imports_lists_every_stage():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (independent,) = [contract for contract in contracts if contract["type"] == "independence"]
    on_disk = {
        f"cpp_pipe.stages.{path.stem}"
        for path, tree in modules("stages")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "Stage" in map(dotted, node.bases)
    }
    assert on_disk == set(independent["modules"])


def test_the_folder_of_stages_holds_stages_and_their_contract_alone():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (independent,) = [contract for contract in contracts if contract["type"] == "independence"]
    on_disk = {path.stem for path in tracked() if path.parent == Path("stages")}
    stages = {name.rpartition(".")[2] for name in independent["modules"]}
    assert on_disk == stages | {"__init__", "contract"}, "what stages are made of is in a folder"


# Configs.


def test_there_is_a_config_for_each_data_set():
    assert " ".join(path.stem for path in CONFIGS) == DATA_SETS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_table_and_key_of_a_config_is_known(path: Path):
    tables = tomllib.loads(path.read_text())
    settings_in(path)
    recipe = {field.name for field in dataclasses.fields(TrainingConfig)}
    assert set(tables.get("train", {})) <= recipe


def test_the_reference_config_is_the_recipe_of_the_golden_numbers():
    written = settings_in(ROOT / "configs" / "reference.toml").train
    expected = TrainingConfig(**REFERENCE)
    for field in dataclasses.fields(TrainingConfig):
        assert getattr(written, field.name) == getattr(expected, field.name), field.name


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_model_and_file_that_a_config_names_exists(path: Path):
    settings = settings_in(path)
    embed, vocabulary = settings.embed, settings.caption.vocabulary
    if embed.pretrained == SHIPPED:
        assert (path.parent / f"{embed.model}.json").is_file()
        assert (path.parent / f"{embed.model}.safetensors").is_file()
    else:
        assert embed.pretrained in open_clip.list_pretrained_tags_by_model(embed.model)
    for name in [vocabulary] if isinstance(vocabulary, str) else vocabulary:
        assert name in ("imagenet", "coco") or (path.parent / name).is_file()
    assert expand_templates(settings.caption.templates)


# Modules.


def test_no_module_is_too_long():
    too_long = {
        str(path): lines
        for path, text in texts()
        if path.parts[0] in FOLDERS
        and path.suffix == ".py"
        and (lines := len(text.splitlines())) > LONGEST_MODULE
    }
    assert not too_long


def test_only_the_command_line_prints():
    prints = [
        f"{path}:{node.lineno}"
        for path, tree in modules(*FOLDERS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func) == "print"
        if not path.as_posix().startswith(PRINTING)
    ]
    assert not prints, "log, or return it"


def test_nothing_is_pickled():
    found = []
    for path, tree in modules(*FOLDERS, "benchmarks", "tools"):
        found += [
            f"{path}:{line}: import {name}"
            for name, line in imports(tree)
            if name.split(".")[0] in PICKLERS
        ]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            allowed = [keyword.value for keyword in node.keywords if keyword.arg == "allow_pickle"]
            if dotted(node.func) in PICKLING_CALLS or any(
                not (isinstance(value, ast.Constant) and value.value is False) for value in allowed
            ):
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert not found


@pytest.mark.parametrize(
    ("folder", "heavy"),
    [
        ("store", {"faiss", "numpy", "open_clip", "pyarrow", "scipy", "sklearn", "torch"}),
        ("stages", {"PIL", "faiss", "open_clip", "pyarrow", "scipy", "sklearn", "torch"}),
        ("pipeline", {"PIL", "faiss", "open_clip", "pyarrow", "scipy", "sklearn", "torch"}),
        ("configs", {"numpy", "torch"}),
    ],
)
def test_importing_a_folder_loads_no_heavy_library(folder: str, heavy: set[str]):
    names = [
        ".".join(("cpp_pipe", *path.with_suffix("").parts)).removesuffix(".__init__")
        for path, _ in modules(folder)
        if "algorithms" not in path.parts
    ]
    assert names
    code = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        f"print(*sorted({heavy} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []


# Text that no file may hold.


def test_every_slow_test_that_is_listed_exists():
    gone = []
    for line in (ROOT / "tests" / "slow.txt").read_text().splitlines():
        path, name = line.split("[")[0].split("::")
        file = ROOT / path
        if not file.is_file() or f"def {name}(" not in file.read_text():
            gone.append(line)
    assert gone == []


def test_no_file_names_a_registry():
    found = [f"{path}: {host}" for path, text in texts() for host in REGISTRIES if host in text]
    assert not found


def test_no_file_holds_a_path_of_one_machine():
    here = {str(path) for path in (ROOT, Path.home()) if len(path.parts) > 1}
    homes = re.compile(
        r"(?<![\w.$}>)-])(?:/(?:home|Users)/\w|(?:"
        + "|".join(map(re.escape, here))
        + r")(?![\w-]))"
    )
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if homes.search(line)
    ]
    assert not found


# The version.


def test_the_version_is_the_same_wherever_it_is_written():
    version = PROJECT["project"]["version"]
    written = {
        "CITATION.cff": re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M),
        "README.md": re.findall(r"^  version = \{(.+)\},$", (ROOT / "README.md").read_text(), re.M),
    }
    assert written == {name: [version] for name in written}


# Dependencies.


def requirements(*extras: str) -> list[Requirement]:
    """Requirements of pyproject.toml, with those of extras."""
    optional = PROJECT["project"]["optional-dependencies"]
    lines = [
        *PROJECT["project"]["dependencies"],
        *(line for name in extras for line in optional[name]),
    ]
    return [Requirement(line) for line in lines]


def pins() -> dict[str, Version]:
    """Pinned versions of constraints.txt by canonical name."""
    versions = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            assert canonicalize_name(name) not in versions, f"{name} is pinned twice"
            versions[canonicalize_name(name)] = Version(version)
    return versions


def test_dependencies_have_only_lower_bounds():
    for requirement in requirements("cpu", "gpu", "leiden", "serve", "map", "docs", "test", "lint"):
        assert [bound.operator for bound in requirement.specifier] == [">="], requirement


def test_every_direct_dependency_is_pinned_within_its_bounds():
    # Both extras install the module faiss; tests use the one for CPUs.
    for requirement in requirements("cpu", "leiden", "serve", "map", "docs", "test", "lint"):
        pinned = pins().get(canonicalize_name(requirement.name))
        assert pinned is not None, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(pinned), requirement


def test_every_import_is_a_declared_dependency():
    declared = {
        canonicalize_name(requirement.name)
        for requirement in requirements("cpu", "leiden", "map", "serve")
    }
    providers = importlib.metadata.packages_distributions()
    undeclared = [
        f"{path}:{line}: {name}"
        for path, tree in modules(*FOLDERS)
        for name, line in imports(tree)
        if (top := name.split(".")[0]) not in sys.stdlib_module_names
        if declared.isdisjoint(map(canonicalize_name, providers.get(top, [])))
    ]
    assert not undeclared


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="only CI installs the pinned versions")
def test_what_is_installed_is_what_is_pinned():
    pinned = pins()
    installed = {
        canonicalize_name(distribution.metadata["Name"]): Version(distribution.version)
        for distribution in importlib.metadata.distributions()
    }
    differing = {
        name: (str(version), str(pinned[name]))
        for name, version in installed.items()
        if name in pinned and version.public != pinned[name].public
    }
    assert not differing, "installed, pinned"
    direct = {canonicalize_name(requirement.name) for requirement in requirements("cpu", "test")}
    assert direct <= set(installed)
