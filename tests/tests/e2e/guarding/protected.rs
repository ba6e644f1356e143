//! Collections that are not dropped, whoever asks and from wherever.

use crate::api::{Writer, call, refused};
use headwater_core::api::Code;

#[tokio::test]
async fn a_protected_collection_is_dropped_by_nobody_while_the_setting_names_it() {
    let mut writer = Writer::start_with(&[("--protect", "flags,prices")]).await;
    writer.client.create("prices").await;
    writer.client.create("other").await;
    let at = writer.write("a", "1").await;
    let replica = writer.replica(&[]).await;
    for client in [&writer.client, &replica.client()] {
        for path in ["/v1/collections/flags", "/v1/collections/prices", "/v1/collections/%66lags"] {
            refused(&call(client, "DELETE", path, &[], "").await, Code::Protected, &["--protect"]);
        }
    }
    assert_eq!(writer.client.position().await, at.to_string(), "a refusal adds nothing to the log");
    let entry = writer.client.delete("flags", "a").await;
    assert_eq!(entry.status, 200, "its entries are as any other's");
    assert_eq!(call(&writer.client, "DELETE", "/v1/collections/other", &[], "").await.status, 200);

    writer.node.stop().await.expect("it runs");
    writer.node.set_option("--protect", "prices");
    writer.node.start_again().await;
    assert_eq!(call(&writer.client, "DELETE", "/v1/collections/flags", &[], "").await.status, 200);
    refused(&call(&writer.client, "DELETE", "/v1/collections/prices", &[], "").await, Code::Protected, &["prices"]);
}
