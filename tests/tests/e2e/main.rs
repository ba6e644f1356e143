//! End-to-end tests of the native nodes. What needs workerd is in `../edge`, what needs a browser in `../page`.

mod cli;
mod first_light;
