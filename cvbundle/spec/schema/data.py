"""`data`: the clips and captions."""

from typing import Literal

from attrs import field, frozen

from cvbundle.spec.about import about
from cvbundle.spec.limits import NOT_EMPTY, NOT_NEGATIVE, SHARE
from cvbundle.spec.resolution import Resolution

Fit = Literal["crop", "stretch"]
FrameSampling = Literal["uniform", "head", "stride"]
ShortClips = Literal["error", "repeat_last", "skip"]
BadSamples = Literal["error", "skip"]


@frozen(kw_only=True)
class Data:
    """The clips, their captions, and how frames are chosen."""

    root: str = field(
        validator=NOT_EMPTY,
        metadata=about(
            "Folder of the dataset.",
            "data",
            local="CVBUNDLE_DATA_ROOT",
            elsewhere=(
                "data_dir",
                "dataset",
                "dataset_path",
                "instance_data_dir",
                "instance_data_root",
                "train_data_dir",
            ),
        ),
    )
    metadata: str | None = field(
        default=None,
        validator=NOT_EMPTY,
        metadata=about(
            "Table under root (.csv .tsv .jsonl .parquet); null means two text files with one "
            "entry a line.",
            None,
            elsewhere=("dataset_file", "metadata_path"),
        ),
    )
    caption_column: str = field(
        validator=NOT_EMPTY,
        metadata=about(
            "Text file under root, column of the table, or `*.txt`: a text file beside each clip.",
            "prompts.txt",
            default="`prompts.txt`, or `caption` with metadata",
            elsewhere=("caption_file",),
        ),
    )
    video_column: str = field(
        validator=NOT_EMPTY,
        metadata=about(
            "Text file under root, or column of the table, with the clips.",
            "videos.txt",
            default="`videos.txt`, or `video` with metadata",
            elsewhere=("video_file",),
        ),
    )
    image_column: str | None = field(
        default=None,
        validator=NOT_EMPTY,
        metadata=about(
            "Image to video only: text file or column with the first images; null means the first "
            "frame of each clip.",
            None,
        ),
    )
    resolution: Resolution = field(
        metadata=about(
            "Frames, height and width used for training, as `FxHxW` or `[F, H, W]`.",
            "49x480x720",
            default="by model",
            elsewhere=("train_resolution", "video_resolution_buckets"),
            parts=("frames", "height", "max_num_frames", "num_frames", "width"),
        ),
    )
    fit: Fit = field(
        default="crop",
        metadata=about("Crop the centre and keep the aspect ratio, or stretch.", "crop"),
    )
    frame_sampling: FrameSampling = field(
        default="uniform",
        metadata=about(
            "Which frames: evenly over the whole clip, the first ones, or the upstream trainer's "
            "integer stride.",
            "uniform",
        ),
    )
    short_clips: ShortClips = field(
        default="error",
        metadata=about("What to do with clips that have too few frames.", "error"),
    )
    bad_samples: BadSamples = field(
        default="error",
        metadata=about(
            "What to do with unreadable or truncated clips; skipped ones are listed in the bundle.",
            "error",
        ),
    )
    caption_prefix: str = field(
        default="",
        metadata=about(
            "Prepended to every caption (identifier token).",
            "sks ",
            elsewhere=("id_token", "instance_prompt", "trigger_word"),
        ),
    )
    caption_dropout: float = field(
        default=0.0,
        validator=SHARE,
        metadata=about(
            "Share of samples trained on the empty caption.",
            0.0,
            elsewhere=("caption_dropout_p", "caption_dropout_rate"),
        ),
    )
    num_workers: int = field(
        default=4,
        validator=NOT_NEGATIVE,
        metadata=about(
            "Threads that prepare batches, for each training process.",
            4,
            elsewhere=("dataloader_num_workers",),
        ),
    )
    pin_memory: bool = field(
        default=True, metadata=about("Page-locked host memory, for faster copies to a GPU.", True)
    )
    vae_tiling: bool = field(
        default=True,
        metadata=about(
            "Encode and decode frames in tiles, to save memory.",
            True,
            elsewhere=("enable_tiling",),
        ),
    )
    vae_slicing: bool = field(
        default=True,
        metadata=about(
            "Encode and decode one clip of a batch at a time.", True, elsewhere=("enable_slicing",)
        ),
    )
