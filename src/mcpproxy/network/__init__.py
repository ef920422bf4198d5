"""The machine's way to the world, and to the providers: when it changes, and when it is back."""
