"""Tasks of rigs: from label to reinforcement, and from behaviour to predicted label."""
