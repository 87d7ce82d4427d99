"""What all figures share: order and names of rows, layout, and kinds of panels."""
