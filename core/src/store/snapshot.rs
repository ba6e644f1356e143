//! Overlays that keep a snapshot exact while the state under it changes.
