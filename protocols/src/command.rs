//! Commands: what the dispatch backend wants of a device, in our words, downward.
