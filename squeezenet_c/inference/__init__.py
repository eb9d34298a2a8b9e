"""From pictures to answers, and how good they are."""
