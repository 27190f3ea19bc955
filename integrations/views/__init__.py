"""Pages about the clinic's other software, and what that software fetches."""
