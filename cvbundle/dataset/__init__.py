"""The clips and captions: what is listed, what the files hold, and what of it is trained on."""
