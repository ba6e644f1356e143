//! wasm-bindgen as a library: the JavaScript glue for one module.

use std::path::Path;

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

/// Where the glue will run.
#[derive(Clone, Copy)]
pub(crate) enum Host {
    /// The Workers runtime: the module is an import, and the glue can start over after a trap.
    Worker,
    /// A browser: the module is fetched beside the glue.
    Browser,
}

/// Writes `<name>.js`, `<name>_bg.wasm` and, for browsers, `<name>.d.ts` into `out`.
///
/// # Errors
/// The module was built with another wasm-bindgen, or `out` cannot be written.
pub(crate) fn generate(module: &Path, name: &str, host: Host, keep_names: bool, out: &Path) -> Result<()> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(module)
        .out_name(name)
        .keep_debug(false)
        .remove_name_section(!keep_names)
        .remove_producers_section(true);
    match host {
        Host::Worker => {
            bindgen.module(true)?.typescript(false).reset_state_function(true).force_enable_abort_handler(true)
        }
        Host::Browser => bindgen.web(true)?.typescript(true).omit_default_module_path(false),
    };
    bindgen.generate(out).with_context(|| format!("wasm-bindgen refused {}", module.display()))
}
