"""What a spec can name: one row for each model, optimizer, strategy and GPU."""
