"""Several processes of one machine that train one model: how they start, what they tell each other."""
