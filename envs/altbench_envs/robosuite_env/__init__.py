"""The one adapter that turns any robosuite task into a Gymnasium environment."""
