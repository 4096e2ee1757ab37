"""Trains the small CLIP of the demonstration, and writes its configuration and weights.

It trains on one half of scikit-learn's digits, each scan with captions in words, as CLIP does: an
image's own caption must be closer to it than other captions, and the reverse. Labels enter only
through the captions of that half. Captions of other things take part as candidates without images,
so that other words in a vocabulary do not win votes by chance. A second term, on two distorted
views of each image, keeps images of one digit apart, so that grouping them remains a task.

The other half trains nothing. Its zero-shot accuracy is printed at the end, and k-means on it
guided the choice of the embedding's size and of the second term's weight. The model knows only
digits: it is only for the demonstration.
"""

import argparse
import hashlib
import json
import math
import string
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import open_clip
import safetensors.torch
import torch
import torch.nn.functional as F
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from cpp_pipe.stages.sources.digits import digit_halves, digit_image, digit_label

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "digits-clip"
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 4, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""The tokenizer's vocabulary takes 3.2 MB; with the towers the model stays below four.

The embedding has few dimensions so that k can be chosen: on the unseen half's 12 to 16 principal
directions the coding length is least at ten k-means clusters, in 64 dimensions at one.
"""

SCALE = 100.0
"""Inverse temperature of the caption loss: CLIP's final value, which zero-shot use assumes."""

VIEW_SCALE = 10.0
VIEW_WEIGHT = 1.0
"""Of the term on two views. Accuracy of k-means on the unseen half: 0.96 at 0.5, 0.94 at 1."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDINGS = ("{}", "the number {}", "the digit {}", "a handwritten {}", "the handwritten digit {}")
TEMPLATES = (
    *("{}", "a photo of {}", "a photo of a {}", "a photo of the {}", "a drawing of {}"),
    *("a drawing of a {}", "a picture of {}", "an image of {}", "a scan of {}", "{}, handwritten"),
)
NUMBERS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty "
    "forty fifty sixty seventy eighty ninety hundred thousand million billion half dozen"
)
SHAPES = (
    "circle square triangle rectangle star line cross arrow heart spiral dot oval pentagon hexagon "
    "octagon cube sphere cone cylinder pyramid diamond ring wave grid ellipse"
)


def digit_captions(digit: int) -> list[str]:
    """Every caption with which an image of this digit may be trained."""
    things = [wording.format(name) for wording in WORDINGS for name in (DIGITS[digit], digit)]
    return [template.format(thing) for template in TEMPLATES for thing in things]


def other_things(tokenizer: open_clip.SimpleTokenizer) -> tuple[list[str], list[str]]:
    """Names of things other than digits, and the other words that the tokenizer knows."""
    names = [f"{article}letter {c}" for article in ("", "the ") for c in string.ascii_uppercase]
    signs = (*NUMBERS.split(), *string.ascii_lowercase)
    names += [wording.format(sign) for wording in WORDINGS for sign in signs]
    names += [*SHAPES.split(), *open_clip.IMAGENET_CLASSNAMES]
    coco = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    names += [name for name in coco if name[0].islower()]  # not "__background__" and "N/A"
    tokens = (token.removesuffix("</w>") for token in tokenizer.encoder if token.endswith("</w>"))
    words = [token for token in tokens if token.isascii() and token.isalpha()]
    return names, [word for word in words if word not in DIGITS]


def distort(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """The images (n, 3, h, w) rotated, sheared, scaled and shifted, with contrast and noise."""

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(images), *shape, generator=rng)

    angle, shear = draw(-0.25, 0.25), draw(-0.15, 0.15)
    zoom_x, zoom_y = draw(0.83, 1.18), draw(0.83, 1.18)
    cos, sin = angle.cos(), angle.sin()
    to_x = torch.stack([cos * zoom_x, (shear - sin) * zoom_x, draw(-0.13, 0.13)], 1)
    to_y = torch.stack([sin * zoom_y, cos * zoom_y, draw(-0.13, 0.13)], 1)
    grid = F.affine_grid(torch.stack([to_x, to_y], 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    moved = moved * draw(0.8, 1.2, 1, 1, 1) + draw(-0.1, 0.1, 1, 1, 1)
    return moved + 0.1 * torch.randn(images.shape, generator=rng)


def caption_loss(
    images: torch.Tensor, texts: torch.Tensor, image_digit: torch.Tensor, text_digit: torch.Tensor
) -> torch.Tensor:
    """CLIP's loss in both directions, where every caption of the image's digit is right.

    `text_digit` is -1 for captions of other things: candidates for images, but never queries.
    """
    logits = SCALE * images @ texts.T  # (n, m)
    right = (image_digit[:, None] == text_digit[None]).float()
    is_query = text_digit >= 0

    def soft_cross_entropy(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return -((right * logits.log_softmax(1)).sum(1) / right.sum(1)).mean()

    to_text = soft_cross_entropy(logits, right)
    return (to_text + soft_cross_entropy(logits.T[is_query], right.T[is_query])) / 2


def view_loss(images: torch.Tensor) -> torch.Tensor:
    """SimCLR's loss: row i of the first half must find row i of the second, and the reverse."""
    logits = (VIEW_SCALE * images @ images.T).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(images)).roll(len(images) // 2))


class Clip(NamedTuple):
    """A model with its preprocessing and its tokenizer."""

    model: open_clip.CLIP
    preprocess: Callable[["Image"], torch.Tensor]
    tokenizer: open_clip.SimpleTokenizer


def open_clip_in(folder: Path, weights: Path | None = None) -> Clip:
    """The model of the folder's configuration, with random weights unless some are given."""
    open_clip.add_model_config(folder / f"{NAME}.json")
    pretrained = None if weights is None else str(weights)
    model, _, preprocess = open_clip.create_model_and_transforms(NAME, pretrained=pretrained)
    return Clip(model, preprocess, open_clip.get_tokenizer(NAME))


def load_scans(rows: np.ndarray, clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    """The preprocessed scans (n, 3, 32, 32), and the digits that they show (n,)."""
    images = [clip.preprocess(digit_image(int(row))) for row in rows]
    return torch.stack(images), torch.tensor([digit_label(int(row)) for row in rows])


def train(clip: Clip, steps: int, batch: int, learning_rate: float, seed: int) -> None:
    """Trains the model in place on the training half, with `batch` images per step."""
    images, digits = load_scans(digit_halves()[0], clip)
    captions = torch.stack([clip.tokenizer(digit_captions(digit)) for digit in range(10)])
    names, words = other_things(clip.tokenizer)
    rng = torch.Generator().manual_seed(seed)

    def draw(things: Sequence[str], n: int = batch) -> list[str]:
        picks: list[int] = torch.randint(len(things), (n,), generator=rng).tolist()
        return [things[i] for i in picks]

    def draw_others() -> torch.Tensor:
        """Captions of things other than digits: half known names, half any words."""
        things = draw(names) + list(map(str.format, draw(WORDINGS), draw(words)))
        return clip.tokenizer(list(map(str.format, draw(TEMPLATES, len(things)), things)))

    model = clip.model.train()
    model.logit_scale.requires_grad_(False).fill_(math.log(SCALE))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.1)
    started = time.monotonic()
    for step in range(1, steps + 1):
        rows = torch.randperm(len(images), generator=rng)[:batch]
        shown = digits[rows]
        picked = torch.randint(captions.shape[1], (len(rows),), generator=rng)
        others = draw_others()
        views = torch.cat([distort(images[rows], rng), distort(images[rows], rng)])
        image_features = model.encode_image(views, normalize=True)
        texts = torch.cat([captions[shown, picked], others])
        text_features = model.encode_text(texts, normalize=True)
        text_digit = F.pad(shown, (0, len(others)), value=-1)
        caption = caption_loss(image_features, text_features, shown.repeat(2), text_digit)
        view = view_loss(image_features)
        optimizer.zero_grad()
        (caption + VIEW_WEIGHT * view).backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            seconds = time.monotonic() - started
            losses = f"captions {caption.item():.3f}, views {view.item():.3f}"
            print(f"step {step} of {steps}: {losses}, {seconds:.0f} s", flush=True)


def save(clip: Clip, path: Path) -> None:
    """Writes the weights in float16, with the digest of the row numbers that trained them."""
    state = clip.model.state_dict()
    state = {name: weight.half() if weight.ndim else weight for name, weight in state.items()}
    rows = digit_halves()[0].astype("<i8")
    trained_on = hashlib.sha256(rows.tobytes()).hexdigest()
    # Only one key: safetensors writes several in an order that changes from run to run.
    path.write_bytes(safetensors.torch.save(state, {"train_rows_sha256": trained_on}))


@torch.inference_mode()
def zero_shot_accuracy(clip: Clip, rows: np.ndarray) -> float:
    """The share of these scans whose nearest prompt "a photo of ..." names their digit."""
    images, digits = load_scans(rows, clip)
    prompts = clip.tokenizer([f"a photo of {name}" for name in DIGITS])
    model = clip.model.eval()
    logits = model.encode_image(images) @ model.encode_text(prompts, normalize=True).T
    return (logits.argmax(1) == digits).float().mean().item()


def make(folder: Path, steps: int, batch: int, learning_rate: float, seed: int) -> Path:
    """Trains a model, and writes its two files to `folder`; returns the path of the weights."""
    torch.set_num_threads(1)  # sums in one order, so the same seed gives the same bytes
    torch.manual_seed(seed)  # open_clip draws the first weights from the global generator
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    clip = open_clip_in(folder)
    train(clip, steps, batch, learning_rate, seed)
    weights = folder / f"{NAME}.safetensors"
    save(clip, weights)
    return weights


def main() -> None:
    """Makes the model, and prints the accuracy of the written files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    configs = Path(__file__).resolve().parent.parent / "configs"
    parser.add_argument("--out", type=Path, default=configs, help="folder for the two files")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=96, help="images per step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="the highest")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    weights = make(args.out, args.steps, args.batch, args.learning_rate, args.seed)
    written = open_clip_in(args.out, weights)
    for half, rows in zip(("training", "unseen"), digit_halves(), strict=True):
        print(f"zero-shot accuracy, {half} half: {zero_shot_accuracy(written, rows):.4f}")


if __name__ == "__main__":
    main()
