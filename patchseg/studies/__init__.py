"""The verbs that look at training and its results over and over: what scores mean, what is wrong, what to do next."""
