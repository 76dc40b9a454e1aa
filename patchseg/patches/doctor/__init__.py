"""The doctor at the door: everything wrong with a data set, found in one pass over its files.

Pairs of images and masks flow in, one at a time, and leave facts behind (`facts`). Families of faults turn facts into
findings (`values`, `sizes`, `pictures`, `balance`, `twins`, `placement`); `checkup` is the verb that runs them all, and
`page` shows them.
"""
