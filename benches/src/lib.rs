//! benches of ClonePanel.
