"""Parquet tables: the role of each column, and the contents of a row."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpp_pipe.stages.sources.fields import SampleFields
from cpp_pipe.stages.sources.images.pixels import UndecodableImage
from cpp_pipe.stages.sources.tables.columns import find_columns
from cpp_pipe.stages.sources.tables.files import TableFile, read_table_image
from cpp_pipe.stages.sources.tables.reader import TableReader, open_table
from cpp_pipe.store.digest import digest_file
from cpp_pipe.store.errors import ConfigError, MissingError, ShardError

from .image_files import png, write_image


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    metadata = options.pop("metadata", None)
    table = pa.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, path, **options)
    return path


def hugging_face(numbers: list[int | None]) -> pa.Array:
    """A column of images as Hugging Face writes it."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [None if n is None else {"bytes": png(n), "path": f"{n}.png"} for n in numbers]
    return pa.array(rows, kind)


def read(path: Path, column: str = "") -> dict[str, bytes | str]:
    """The image of each key, or why there is none."""
    images: dict[str, bytes | str] = {}
    with TableFile.of(path, column).open(Path()) as opened:
        for fault in opened.faults:
            images[f"{fault.key} again"] = f"{fault.reason}: {fault.detail}"
        for entry in opened.samples:
            try:
                images[entry.key] = entry.read_image()
                assert entry.size == len(images[entry.key]) and entry.offset is None
            except UndecodableImage as error:
                images[entry.key] = f"{error.reason}: {error.detail}"
    return images


def fields(path: Path) -> list[SampleFields]:
    with TableFile.of(path).open(Path()) as opened:
        return [entry.fields() for entry in opened.samples]


def test_images_of_hugging_face_are_read(tmp_path):
    path = write(tmp_path / "a.parquet", {"image": hugging_face([0, 1, 2]), "label": [3, 1, 2]})
    assert read(path) == {"0": png(0), "1": png(1), "2": png(2)}
    assert [row.label for row in fields(path)] == ["3", "1", "2"]


def test_class_names_in_hugging_faces_metadata_are_kept(tmp_path):
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    path = write(
        tmp_path / "a.parquet",
        {"image": hugging_face([0, 1, 2]), "label": pa.array([1, 0, -1], pa.int64())},
        metadata={"huggingface": json.dumps(names)},
    )
    rows = fields(path)
    assert [row.label for row in rows] == ["1", "0", "-1"]
    assert [json.loads(row.extra) for row in rows] == [
        {"label_name": "dog"}, {"label_name": "cat"}, {},
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["image", "IMG", "jpg", "png", "bytes", "image_bytes"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_in_a_column_of_a_usual_name_are_images(tmp_path, name, kind):
    path = write(tmp_path / "a.parquet", {"other": [b"x"], name: pa.array([png(0)], kind)})
    assert read(path) == {"0": png(0)}


@pytest.mark.parametrize("name", ["path", "file", "file_name", "Image_Path", "filepath"])
def test_paths_are_relative_to_the_tables_folder(tmp_path, name):
    write_image(tmp_path / "data" / "pictures" / "a b.png")
    local = (tmp_path / "data" / "pictures" / "a b.png").as_uri()
    path = write(
        tmp_path / "data" / "a.parquet",
        {"id": ["x", "y", "z"], name: ["pictures/a b.png", local, "pictures/gone.png"]},
    )
    assert read(path) == {
        "x": png(0),
        "y": png(0),
        "z": "unreadable: No such file or directory",
    }
    assert json.loads(fields(path)[0].extra) == {name: "pictures/a b.png"}


def test_a_named_file_that_vanished_after_it_was_listed_is_an_error(tmp_path):
    image = write_image(tmp_path / "a.png")
    path = write(tmp_path / "a.parquet", {"path": ["a.png", "gone.png"]})
    for table in (TableFile.of(path), TableFile.of(path).with_content("content")):
        image.unlink(missing_ok=True)
        with table.open(tmp_path) as opened:
            first, second = opened.samples
            with pytest.raises(ShardError, match="could be read when it was listed"):
                first.read_image()
            with pytest.raises(UndecodableImage, match="No such file"):
                second.read_image()
        write_image(image)


def test_a_struct_without_bytes_is_read_from_its_path(tmp_path):
    write_image(tmp_path / "a.png", 4)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": None, "path": "a.png"}, {"bytes": png(1), "path": "b.png"}, None]
    path = write(tmp_path / "a.parquet", {"image": pa.array(rows, kind)})
    assert read(path) == {"0": png(4), "1": png(1), "2": "no_image: the row has no picture"}


def test_addresses_are_not_downloaded(tmp_path):
    url = "https://example.org/a.jpg"
    path = write(tmp_path / "laion.parquet", {"URL": [url, None], "TEXT": ["a cat", "a dog"]})
    assert read(path) == {"0": f"remote: {url}", "1": "no_image: the row has no picture"}
    assert (fields(path)[0].url, fields(path)[0].caption) == (url, "a cat")


def test_columns_of_laion_are_kept_under_their_own_names(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        {
            "jpg": [png(0)],
            "URL": ["http://x"],
            "TEXT": ["a cat"],
            "similarity": [float("nan")],
            "punsafe": [0.25],
            "NSFW": ["UNLIKELY"],
            "when": pa.array([0], pa.timestamp("s")),
            "nothing": pa.array([None], pa.string()),
            "vector": [[1.0, 2.0]],
        },
    )
    (row,) = fields(path)
    assert (row.url, row.caption, row.label) == ("http://x", "a cat", None)
    assert json.loads(row.extra) == {
        "punsafe": 0.25,
        "NSFW": "UNLIKELY",
        "when": "1970-01-01 00:00:00",
    }


def test_labels_that_pandas_made_floats_become_integers(tmp_path):
    path = write(tmp_path / "a.parquet", {"jpg": [png(0), png(1)], "Label": [3.0, None]})
    assert [row.label for row in fields(path)] == ["3", None]


@pytest.mark.parametrize("name", ["key", "ID", "image_id", "__key__"])
def test_a_key_is_a_column_or_else_the_padded_row_number(tmp_path, name):
    images = [png(0)] * 11
    numbers = pa.array([None, *range(7, 17)], pa.int64())
    named = write(tmp_path / "a.parquet", {"jpg": images, name: numbers})
    assert list(read(named)) == ["00", *map(str, range(7, 17))]
    plain = write(tmp_path / "b.parquet", {"jpg": images})
    assert list(read(plain)) == [f"{n:02d}" for n in range(11)]


def test_a_row_whose_key_is_no_number_gets_its_row_number(tmp_path):
    """All such rows had the key None, so that all but the first were skipped."""
    keys = pa.array([7.0, float("nan"), float("nan"), None])
    path = write(tmp_path / "a.parquet", {"jpg": [png(n) for n in range(4)], "id": keys})
    assert list(read(path)) == ["7.0", "1", "2", "3"]
    assert read_table_image(path, "", "2") == png(2)


@pytest.mark.parametrize("name", ["path", "url", "jpg", "key", "label"])
def test_columns_of_categories_are_read_like_others(tmp_path, name):
    """pandas writes categories as a dictionary: paths in one were no images."""
    write_image(tmp_path / "a.png")
    columns = {"key": pa.array(["x"]), "label": pa.array(["cat"]), "path": pa.array(["a.png"])}
    if name == "url":
        columns["url"] = columns.pop("path")
    elif name == "jpg":
        columns["jpg"] = pa.array([png(0)])
    columns[name] = columns[name].dictionary_encode()
    path = write(tmp_path / "a.parquet", columns)
    assert pa.types.is_dictionary(pq.read_schema(path).field(name).type)
    assert read(path) == {"x": png(0)}
    assert fields(path)[0].label == "cat"


def test_a_repeated_key_is_a_fault(tmp_path):
    path = write(tmp_path / "a.parquet", {"jpg": [png(0), png(1)], "key": ["a", "a"]})
    assert read(path) == {"a": png(0), "a again": "duplicate_key: row 1 has the key of a row above"}


def test_the_named_column_is_used(tmp_path):
    columns = {"left": hugging_face([0]), "right": hugging_face([1]), "odd": [png(2)]}
    path = write(tmp_path / "a.parquet", columns)
    assert read(path, "right") == {"0": png(1)}
    assert read(path, "odd") == {"0": png(2)}
    with pytest.raises(ConfigError, match="images in left, right: name the one to embed with"):
        TableFile.of(path)
    with pytest.raises(
        ConfigError, match=r"'middle' of .* holds no images, .*: name one of left, right, odd"
    ):
        TableFile.of(path, "middle")
    image = write(tmp_path / "b.parquet", {"mask": hugging_face([0]), "image": hugging_face([1])})
    assert read(image) == {"0": png(1)}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "b": ["x"]}, r"no column known .* but a \(int64\), b \(string\): name one"),
        (
            {"embedding": [[0.5, 0.5]]},
            r"or save lists that are embeddings as \.npy for cpp-pipe",
        ),
    ],
)
def test_a_table_without_images_says_what_it_holds(tmp_path, columns, message):
    path = write(tmp_path / "a.parquet", columns)
    with pytest.raises(ConfigError, match=message):
        TableFile.of(path)


def test_the_metadata_of_clip_retrieval_suggests_import(tmp_path):
    (tmp_path / "img_emb").mkdir()
    path = write(tmp_path / "metadata" / "metadata_0.parquet", {"caption": ["a"]})
    with pytest.raises(ConfigError, match=f"cpp-pipe import '{tmp_path}'"):
        TableFile.of(path)


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_text("no table")
    with pytest.raises(ShardError, match=r"a\.parquet cannot be read as Parquet"):
        TableFile.of(path)
    with pytest.raises(ShardError, match=r"gone\.parquet cannot be read"):
        TableFile.of(tmp_path / "gone.parquet")


def test_a_table_damaged_in_the_middle_is_an_error(tmp_path):
    columns = {"jpg": [png(n % 100) for n in range(300)]}
    path = write(tmp_path / "a.parquet", columns, compression="snappy", row_group_size=50)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    with TableFile.of(path).open(tmp_path) as opened, pytest.raises(ShardError, match="Parquet"):
        [entry.read_image() for entry in opened.samples]


def test_moving_a_table_keeps_its_identity_and_changing_it_does_not(tmp_path):
    columns = {"jpg": [png(0)], "png": [png(1)]}
    path = write(tmp_path / "a.parquet", columns)
    before = TableFile.of(path)
    (tmp_path / "b").mkdir()
    moved = TableFile.of(Path(shutil.copy(path, tmp_path / "b")))
    assert (moved.identity, moved.part_name) == (before.identity, before.part_name)
    assert TableFile.of(path, "png").identity != before.identity
    assert TableFile.of(path, "jpg").identity == before.identity
    write(path, {"jpg": [png(2)]})
    assert TableFile.of(path).identity != before.identity


@pytest.mark.parametrize("form", ["path", "struct"])
def test_a_changed_file_that_a_table_names_is_noticed(tmp_path, form):
    image = write_image(tmp_path / "a.png")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    struct = pa.array([{"bytes": None, "path": "a.png"}], kind)
    path = write(tmp_path / "a.parquet", {"image": struct if form == "struct" else ["a.png"]})
    identities = [TableFile.of(path).identity]
    image.write_bytes(png(1))
    identities.append(TableFile.of(path).identity)
    image.unlink()
    identities.append(TableFile.of(path).identity)
    assert len(set(identities)) == 3


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("columns", [{"jpg": [png(1)], "id": ["a"]}, {"png": [png(0)]}])
def test_a_table_that_changed_since_it_was_listed_is_refused(tmp_path, columns, again):
    """Its part would hold other rows than its name says, for every copy of the listed table."""
    path = write(tmp_path / "a.parquet", {"jpg": [png(0)], "id": ["a"]})
    table = TableFile.of(path).with_content("content") if again else TableFile.of(path)
    write(path, columns)
    with (
        pytest.raises(ShardError, match="was changed while it was embedded"),
        table.open(tmp_path) as opened,
    ):
        [entry.read_image() for entry in opened.samples]


@pytest.mark.parametrize("again", [False, True])
def test_a_named_file_that_changed_since_it_was_listed_is_refused(tmp_path, again):
    image = write_image(tmp_path / "a.png")
    path = write(tmp_path / "a.parquet", {"path": ["a.png", "gone.png"]})
    table = TableFile.of(path).with_content("content") if again else TableFile.of(path)
    for number in (0, 1):
        image.write_bytes(png(number))
        is_changed = number != 0
        with (
            pytest.raises(ShardError, match="changed while it was")
            if is_changed
            else nullcontext(),
            table.open(tmp_path) as opened,
        ):
            opened.samples[0].read_image()
            with pytest.raises(UndecodableImage):
                opened.samples[1].read_image()


def test_rows_do_not_depend_on_the_order_or_the_thread_of_reading(tmp_path):
    values = list(range(1000))
    path = write(tmp_path / "a.parquet", {"a": values, "b": values}, row_group_size=170)
    with open_table(path) as file:
        rows = TableReader(file, path, ["a"])
        assert [rows.row(n) for n in (999, 0, 500, 499, 170, 169)] == [
            {"a": n} for n in (999, 0, 500, 499, 170, 169)
        ]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(rows.row, values)) == [{"a": n} for n in values]


def test_an_image_is_found_by_its_key(tmp_path):
    numbers = [n % 50 for n in range(200)]
    columns = {"image": hugging_face(list(numbers)), "id": [f"k{n}" for n in range(200)]}
    path = write(tmp_path / "a.parquet", columns, row_group_size=60)
    for row in (0, 59, 60, 199):
        assert read_table_image(path, "image", f"k{row}") == png(numbers[row])
    with pytest.raises(MissingError, match="no longer has a row 'k200'"):
        read_table_image(path, "image", "k200")


def test_the_digest_is_of_the_table_and_of_the_files_that_it_names(tmp_path):
    def digest(path: Path) -> str:
        with TableFile.of(path).open(tmp_path) as opened:
            for entry in opened.samples:
                entry.read_image()
            return opened.sha256()

    inside = write(tmp_path / "a.parquet", {"jpg": [png(0)]})
    assert digest(inside) == digest_file(inside)
    image = write_image(tmp_path / "a.png")
    named = write(tmp_path / "b.parquet", {"path": ["a.png"]})
    before = digest(named)
    image.write_bytes(png(1))
    assert digest(named) != before


def test_hugging_faces_struct_wins_over_other_columns():
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("jpg", pa.binary()), ("path", pa.string()), ("photo", struct)])
    columns = find_columns(schema, "", Path("a.parquet"))
    assert (columns.image, columns.image_form, columns.fields) == ("photo", "struct", ("path",))
