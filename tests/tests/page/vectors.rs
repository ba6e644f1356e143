//! The wire vectors, played by the replica's wasm in Chromium.

use headwater_local::tools::Tools;
use headwater_tests::{PIECES, Page, Vector, vectors};
use serde_json::json;

#[tokio::test]
async fn the_browser_makes_of_every_wire_vector_what_is_written_beside_it() {
    let tools = Tools::load().expect("./dev test writes the tools file");
    let built = tools.web_selftest.expect("./dev test page builds the self-test");
    let mut page = Page::of_files(&built).await;
    page.evaluate("import('/headwater_web.js').then(async (web) => { await web.default(); window.web = web; })").await;
    for Vector { path, bytes, expected } in vectors() {
        let play = format!("((bytes) => {}.map((pieces) => web.vector(bytes, pieces)))", json!(PIECES));
        let outcomes = page.evaluate(&format!("{play}(new Uint8Array({}))", json!(bytes))).await;
        for (pieces, outcome) in PIECES.iter().zip(outcomes.as_array().expect("a list")) {
            assert_eq!(outcome.as_str(), Some(&*expected), "{}, pieces {pieces}", path.display());
        }
    }
    page.close().await;
}
