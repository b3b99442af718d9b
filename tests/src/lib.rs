//! tests of ClonePanel.
