"""What the video did while a patient exercised: its events, and the figures made of them. Pure."""
