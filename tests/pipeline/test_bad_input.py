"""Bad input gives one clear line and exit code 2, and loses nothing."""

import json
import os
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.store import Store
from cpp_pipe.store.kinds import EMBEDDINGS

from ..rights import read_only
from ..stages.shards import write_shards
from .cli import DIGITS, SMALL, call, embed, fail, succeed


@pytest.fixture
def store(tmp_path):
    return tmp_path / "artifacts"


def embed_words(*shards):
    """The words of an embed command."""
    return ["embed", *(word for shard in shards for word in ("--shards", str(shard))), *DIGITS]


def add_member(path, name, data):
    """Appends a file to a tar."""
    import io

    with tarfile.open(path, "a") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def shards(tmp_path, digit_shards):
    """Shards for one test, which may damage them."""
    return shutil.copytree(digit_shards, tmp_path / "shards")


def test_a_missing_shard_is_named_before_any_work(store, shards):
    line = fail(store, *embed_words(shards / "{000..004}.tar"))
    assert "found 3 of 5 shards" in line and "003" in line and "004" in line
    assert not (store / "embeddings").exists()
    done = call(store, *embed_words(shards / "{000..004}.tar"), "--allow-partial")
    assert done.code == 0 and "embedded 60" in done.out


def test_no_shard_at_all_says_what_to_check(store, tmp_path):
    assert "shard" in fail(store, *embed_words(tmp_path / "nothing" / "*.tar"))
    assert "--shards" in fail(store, "embed", *DIGITS)


def test_a_tar_cut_in_half_is_partial_and_its_good_samples_are_kept(store, shards):
    cut = shards / "001.tar"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    line = fail(store, *embed_words(shards))
    assert "1 of 3 shards is partial" in line and "001.tar" in line
    assert Store(store).artifacts() == []
    done = succeed(store, *embed_words(shards), "--allow-partial", "--max-skipped", "0.2")
    assert "3 of 3 parts are there already" in done.err
    assert "partial: 001.tar" in done.out
    part = Run.open(store).artifact("embeddings").parts[1]
    assert part.facts["is_partial"] and 5 < part.facts["embedded"] < 20
    # The whole shard in its place costs only itself.
    cut.write_bytes(whole)
    assert "2 of 3 parts are there already" in succeed(store, *embed_words(shards)).err


def test_a_single_empty_tar_has_no_samples(store, tmp_path):
    empty = tmp_path / "empty.tar"
    tarfile.open(empty, "w").close()
    assert "no samples found (empty.tar)" in fail(store, *embed_words(empty))
    (tmp_path / "zero.tar").write_bytes(b"")
    assert "no samples found (zero.tar)" in fail(store, *embed_words(tmp_path / "zero.tar"))


def test_a_text_file_named_tar_is_named(store, shards):
    (shards / "002.tar").write_text("no tar at all, " * 100)
    line = fail(store, *embed_words(shards))
    assert "002.tar" in line and "not a tar" in line
    (shards / "002.tar").unlink()
    assert "2 of 2 parts are there already" in succeed(store, *embed_words(shards)).err


def test_images_that_do_not_decode_are_rows_with_a_reason(store, shards):
    add_member(shards / "000.tar", "broken.png", b"\x89PNG\r\n\x1a\n and no more")
    add_member(shards / "000.tar", "page.jpg", b"<html>not found</html>")
    done = succeed(store, *embed_words(shards))
    assert "seen 62 = embedded 60 + skipped 2" in done.out
    assert "skipped: 2 of 22 in 000.tar\n" in done.out
    assert f"`cpp-pipe skipped --store {store}` lists each with its reason" in done.out
    assert ".parquet" not in done.out
    embeddings = Run.open(store).artifact("embeddings")
    name = embeddings.parts[0].name
    rows = embeddings.table(name, "skipped").to_pylist()
    assert {row["key"]: row["reason"] for row in rows} == {
        "broken": "undecodable",
        "page": "unsupported",
    }


def test_too_many_skipped_fail_and_lose_nothing(store, shards):
    for number in range(20):
        add_member(shards / "000.tar", f"broken{number}.png", b"no image")
    line = fail(store, *embed_words(shards))
    assert "20 of 80 samples (25.0%) were skipped" in line and "--max-skipped 0.1" in line
    done = succeed(store, *embed_words(shards), "--max-skipped", "0.3")
    assert "3 of 3 parts are there already" in done.err


def test_shards_without_images_say_what_they_hold(store, tmp_path):
    path = tmp_path / "texts.tar"
    for number in range(3):
        add_member(path, f"{number}.wav", b"RIFF") if path.exists() else _new_tar(path)
    line = fail(store, *embed_words(path))
    assert "no image could be embedded" in line and "wav" in line


def _new_tar(path):
    tarfile.open(path, "w").close()
    add_member(path, "first.wav", b"RIFF")


def test_an_unknown_setting_names_the_known_ones(store, tmp_path):
    config = tmp_path / "my.toml"
    config.write_text("[train]\nepoch = 3\n")
    line = fail(store, "train", "--config", config)
    assert "unknown key 'epoch'" in line and "did you mean epochs?" in line
    config.write_text("[trian]\nepochs = 3\n")
    assert "unknown table [trian]" in fail(store, "train", "--config", config)
    config.write_text("[train]\nepochs = 'many'\n")
    assert "must be a whole number, got 'many'" in fail(store, "train", "--config", config)
    config.write_text("[train\n")
    assert "is not valid TOML" in fail(store, "train", "--config", config)
    assert "neither a file nor a shipped config; shipped are" in fail(
        store, "train", "--config", "nonesuch"
    )
    assert "--set must be TABLE.KEY=VALUE, got 'epochs=3'" in fail(
        store, "train", "--set", "epochs=3"
    )


def test_with_nothing_embedded_the_error_says_how_to_begin(store):
    assert "start with `cpp-pipe embed" in fail(store, "train")
    assert not store.exists()


def test_a_working_directory_that_was_removed_is_named(store, tmp_path, monkeypatch):
    """The user was told to check the disks of the images and of the store."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    line = fail(store, "embed", "--images", tmp_path)
    assert "the working directory was removed: change to one that exists" in line


def test_a_store_of_another_format_is_refused(store):
    store.mkdir()
    (store / "store.json").write_text('{"format": 2}')
    assert "has the format 2" in fail(store, "status")


def test_embeddings_of_two_models_are_never_mixed(store, tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("a", 8), ("b", 12)):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(5, size)).astype(np.float32))
    line = fail(store, "import", tmp_path / "a.npy", tmp_path / "b.npy", "--model", "ViT-B-32")
    assert "model.embedding_size is 8 and 12" in line
    assert Store(store).artifacts() == []


def test_a_query_that_is_not_an_image_is_refused_before_any_work(store, shards, tmp_path):
    embed(store, shards)
    text = tmp_path / "img.jpg"
    text.write_text("no image")
    assert "cannot be decoded" in fail(store, "search", "--query", text)
    assert "cannot be read" in fail(store, "search", "--query", tmp_path / "absent.jpg")
    assert "nothing to search for" in fail(store, "search")
    assert [artifact.kind.name for artifact in Store(store).artifacts()] == ["embeddings"]


def test_a_query_with_the_wrong_model_is_refused(store, shards, tmp_path):
    from safetensors.torch import load_file, save_file

    from cpp_pipe.pipeline.config import CONFIGS

    embed(store, shards)
    weights = load_file(CONFIGS / "digits-clip.safetensors")
    changed = {name: tensor * 1.01 for name, tensor in weights.items()}
    other = tmp_path / "digits-clip.safetensors"
    save_file(changed, other)
    config = ["--model-config", CONFIGS / "digits-clip.json", "--pretrained", other]
    line = fail(store, "search", "--text", "seven", *config)
    assert "this model did not make the embeddings" in line and "weights_digest" in line


def test_the_model_flag_replaces_a_model_config(store, shards):
    from cpp_pipe.pipeline.config import CONFIGS

    config = ["--model-config", CONFIGS / "digits-clip.json"]
    weights = ["--pretrained", CONFIGS / "digits-clip.safetensors"]
    succeed(store, "embed", "--shards", shards, *config, *weights)
    line = fail(store, "embed", "--model", "ViT-L-41", "--pretrained", "openai")
    assert "open_clip has no model 'ViT-L-41'" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (b"{", "describes no model that open_clip can make"),
        (b"\xff{}", "describes no model that open_clip can make"),
        (b"[1]", "has no number `embed_dim`"),
        ({"embed_dim": "x"}, "has no number `embed_dim`"),
        ({"vision_cfg": None}, "has no object `vision_cfg`"),
        ({"text_cfg": 3}, "has no object `text_cfg`"),
        ({"embed_dim": 0}, ""),
        ({"vision_cfg": {"image_size": None, "width": 64}}, "describes no model that open_clip"),
        ({"vision_cfg": {"patch_size": 0}}, "describes no model that open_clip can make"),
        ({"text_cfg": {"heads": 3, "width": 32}}, "describes no model that open_clip can make"),
    ],
)
def test_an_invalid_model_config_is_one_line_and_others_still_load(
    store, shards, tmp_path, change, message
):
    from cpp_pipe.pipeline.config import CONFIGS

    path = tmp_path / "mine.json"
    right = json.loads((CONFIGS / "digits-clip.json").read_bytes())
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        for name, value in change.items():
            is_part = isinstance(value, dict)
            right[name] = {**right[name], **value} if is_part else value
        path.write_text(json.dumps(right))
    weights = ["--pretrained", CONFIGS / "digits-clip.safetensors"]
    line = fail(store, "embed", "--shards", shards, "--model-config", path, *weights)
    assert message in line and (str(path) in line or "do not fit the model mine" in line)
    embed(store, shards)


def test_a_folder_is_refused_as_a_vocabulary(store, shards, tmp_path):
    embed(store, shards)
    succeed(store, "train", *SMALL)
    (tmp_path / "words").mkdir()
    line = fail(store, "caption", "--vocabulary", tmp_path / "words")
    assert "is a folder: name a file in it" in line


@pytest.mark.parametrize("host", ["foo.invalid", "", "a" * 80, "256.1.1.1", "a b"])
def test_an_unknown_host_is_refused_before_any_work(store, host):
    line = fail(store, "serve", "--host", host)
    assert f"--host {host!r} is not a name or an address that this machine knows" in line
    assert "to serve at 127.0.0.1" in line
    assert not store.exists()


def test_an_unknown_key_is_named(store, shards):
    embed(store, shards)
    succeed(store, "train", *SMALL)
    assert "in none of the 60 rows" in fail(store, "search", "--key", "nonesuch")


def test_more_clusters_than_rows_are_refused(store, shards):
    embed(store, shards)
    succeed(store, "train", *SMALL)
    line = fail(store, "assign", "--k", "61")
    assert "--k must be from 1 to the number of rows, 60, got 61" in line
    assert "60 rows in 60 clusters" in succeed(store, "assign", "--k", "60").out


def test_fewer_rows_than_a_batch_can_be_trained(store, tmp_path):
    write_shards(tmp_path / "few", shards=1, size=7)
    embed(store, tmp_path / "few")
    succeed(store, "train", "--epochs", "2")
    assert "7 rows in 3 clusters" in succeed(store, "assign", "--k", "3").out


def test_weights_that_could_run_code_are_refused(store, shards, tmp_path):
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"anything")
    line = fail(store, "embed", "--shards", shards, "--model", "ViT-B-32", "--pretrained", weights)
    assert "must be a .safetensors file" in line


def test_an_unknown_model_or_device_names_the_known_ones(store, shards):
    words = ["embed", "--shards", shards]
    assert "similar names: " in fail(store, *words, "--model", "ViT-L-41")
    assert "tags: openai" in fail(store, *words, "--model", "ViT-L-14", "--pretrained", "open")
    assert "--device 'cuda:9'" in fail(store, *words, *DIGITS, "--device", "cuda:9")


def test_weights_that_cannot_be_downloaded_say_how_to_give_a_file(store, shards):
    # In a process of its own: the hub's client reads its settings once.
    done = subprocess.run(
        [sys.executable, "-m", "cpp_pipe", "embed", str(shards), "--store", str(store)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(store)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("cpp-pipe: the weights 'openai' of ViT-L-14 cannot be downloaded")
    assert "--pretrained weights.safetensors" in line
    assert "give the file of the weights of ViT-L-14" in line and "a smaller one" in line
    # The model that cannot be had is not the way out.
    assert "--pretrained openai" not in line


def test_a_read_only_store_gives_one_line_and_can_still_be_searched(store, shards):
    embed(store, shards)
    succeed(store, "train", *SMALL)
    key = Run.open(store).artifact("embeddings").column("key")[0]
    succeed(store, "search", "--key", key)
    with read_only(store):
        assert succeed(store, "search", "--key", key).out
        line = fail(store, "train", "--epochs", "5")
    assert "not allowed to write" in line and "--store" in line


def test_a_flipped_byte_is_named_and_exits_with_1(store, shards):
    embed(store, shards)
    artifact = Run.open(store).artifact("embeddings")
    victim = artifact.path(artifact.parts[0].name, "rows")
    data = bytearray(victim.read_bytes())
    data[100] ^= 255
    victim.write_bytes(data)
    done = call(store, "verify")
    assert done.code == 1 and victim.name in done.out
    assert artifact.kind == EMBEDDINGS
