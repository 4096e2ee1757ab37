"""The commands that download data sets with other programs."""

from collections.abc import Mapping

DOWNLOAD_COMMANDS: Mapping[str, str] = {
    "wikiart": """\
# WikiArt is Parquet tables on Hugging Face, which cpp-pipe reads as they are.
pip install -U huggingface_hub
hf download huggan/wikiart --repo-type dataset --include 'data/*.parquet' \\
  --local-dir wikiart
cpp-pipe run wikiart --table 'wikiart/data/*.parquet'
""",
    "laion-aesthetic": """\
# LAION-Aesthetic is a list of addresses on Hugging Face, where you accept its
# terms first: https://huggingface.co/datasets/laion/laion2B-en-aesthetic
pip install -U huggingface_hub img2dataset
hf auth login
hf download laion/laion2B-en-aesthetic --repo-type dataset \\
  --include '*.parquet' --local-dir laion-aesthetic-urls
img2dataset --url_list laion-aesthetic-urls --input_format parquet \\
  --url_col URL --caption_col TEXT \\
  --save_additional_columns '["punsafe","pwatermark","aesthetic"]' \\
  --output_format webdataset --output_folder laion-aesthetic \\
  --image_size 384 --resize_mode keep_ratio --resize_only_if_bigger True \\
  --skip_reencode True --processes_count 16 --thread_count 64
cpp-pipe run laion-aesthetic
""",
}
"""Lines for a shell, by the name of the data set."""
