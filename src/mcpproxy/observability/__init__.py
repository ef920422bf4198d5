"""What the program tells about itself: events, health, metrics and logs."""
