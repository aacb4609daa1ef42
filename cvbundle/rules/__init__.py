"""The constraints between fields, models, adapters and clips: one small function each."""
