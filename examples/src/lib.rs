//! examples of ClonePanel.
