//! The hosting side of ClonePanel: WHM zones and accounts, authoritative DNS checks and health probes.
//!
//! Nothing is published here yet: the name and its place in the workspace are reserved, so that the dependency rules
//! (a back-end crate depends on `clonepanel-core` and on no other back-end crate) are checked from the start.
