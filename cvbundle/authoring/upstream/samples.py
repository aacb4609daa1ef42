"""The datasets of zai-org/CogVideo's trainer and of CogKit, and how both make samples of clips."""

from cvbundle.authoring.upstream.draft import Draft


def draft_upstream_frames(draft: Draft) -> None:
    """How both trainers make a sample of a clip (finetune/datasets/utils.py:100-146)."""
    draft.put("data.fit", "stretch", "upstream doesn't keep the aspect ratio")
    draft.put("data.frame_sampling", "stride", "every n-th frame, for an integer n")
    draft.put("data.short_clips", "repeat_last")


def draft_cogkit_data(draft: Draft, root: str, *, is_i2v: bool) -> None:
    """The layout of CogKit's datasets (docs/04-Finetune/03-Data Format.md)."""
    draft.put("data.root", f"{root.rstrip('/')}/train", "CogKit trains on its folder train")
    draft.put("data.metadata", "metadata.jsonl")
    draft.put("data.caption_column", "prompt")
    draft.put("data.video_column", "file_name")
    if is_i2v:
        draft.note(
            "CogKit joins train/metadata.jsonl with videos/metadata.jsonl (and images/) by id: add "
            "the clip's path to train/metadata.jsonl as file_name, such as videos/1.mp4"
        )
        draft.put("data.image_column", None, "the clip's first frame; or the column of its image")
