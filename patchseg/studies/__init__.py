"""The verbs that look back at the whole job: how sure its results are, where labels are wrong, and which to add."""
