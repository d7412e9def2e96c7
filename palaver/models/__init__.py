"""Messages in, one reply out: every backend that can speak for a participant."""
