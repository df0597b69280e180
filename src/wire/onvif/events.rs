//! Events by PullPoint (ONVIF Core section 9.2, WS-BaseNotification 1.3, WS-Addressing 1.0): the calls,
//! and the reference that a device gives for them.

use super::Call;
use crate::wire::soap::escaped;
use crate::wire::xml::{Step, XmlError, raw_children, walk};

pub const EVENTS: &str = "http://www.onvif.org/ver10/events/wsdl";
const NOTIFICATION: &str = "http://docs.oasis-open.org/wsn/b-2";
/// Actions of WS-BaseNotification.
const MANAGER: &str = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager";
const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// Reference parameters of one subscription, bytes.
const REFERENCE_BYTES_MAX: usize = 4096;

/// Where a subscription lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// As the device writes it.
    pub address: String,
    /// What has to be sent back with each call, as header blocks.
    reference: String,
}

impl Subscription {
    /// The header blocks of a call to it (WS-Addressing SOAP Binding section 3.4).
    fn header(&self, action: &str, message_id: &str) -> String {
        let to = escaped(&self.address);
        let own =
            |name: &str, text: &str| format!("<{name} xmlns=\"{ADDRESSING}\">{text}</{name}>");
        let id = own("MessageID", &format!("urn:uuid:{message_id}"));
        let (action, to) = (own("Action", action), own("To", &to));
        format!("{action}{id}{to}{}", self.reference)
    }

    fn call(&self, action: String, body: String, message_id: &str) -> Call {
        let header = self.header(&action, message_id);
        Call {
            action,
            header,
            body,
        }
    }

    /// Waits up to `timeout_s` for messages.
    pub fn pull(&self, timeout_s: u32, messages_max: u32, message_id: &str) -> Call {
        let action = format!("{EVENTS}/PullPointSubscription/PullMessagesRequest");
        let body = format!(
            "<PullMessages xmlns=\"{EVENTS}\"><Timeout>PT{timeout_s}S</Timeout>\
             <MessageLimit>{messages_max}</MessageLimit></PullMessages>"
        );
        self.call(action, body, message_id)
    }

    /// Asks for the state of everything that has one.
    pub fn synchronize(&self, message_id: &str) -> Call {
        let action = format!("{EVENTS}/PullPointSubscription/SetSynchronizationPointRequest");
        let body = format!("<SetSynchronizationPoint xmlns=\"{EVENTS}\"/>");
        self.call(action, body, message_id)
    }

    pub fn renew(&self, lifetime_s: u32, message_id: &str) -> Call {
        let body = format!(
            "<Renew xmlns=\"{NOTIFICATION}\"><TerminationTime>PT{lifetime_s}S</TerminationTime></Renew>"
        );
        self.call(format!("{MANAGER}/RenewRequest"), body, message_id)
    }

    pub fn unsubscribe(&self, message_id: &str) -> Call {
        let body = format!("<Unsubscribe xmlns=\"{NOTIFICATION}\"/>");
        self.call(format!("{MANAGER}/UnsubscribeRequest"), body, message_id)
    }
}

/// A subscription to everything; it ends by itself after `lifetime_s` without a renewal.
pub fn create_pull_point(lifetime_s: u32) -> Call {
    let body = format!(
        "<CreatePullPointSubscription xmlns=\"{EVENTS}\"><InitialTerminationTime>PT{lifetime_s}S\
         </InitialTerminationTime></CreatePullPointSubscription>"
    );
    Call {
        action: format!("{EVENTS}/EventPortType/CreatePullPointSubscriptionRequest"),
        header: String::new(),
        body,
    }
}

/// Reads the answer to [`create_pull_point`]; `None` where it names no address.
///
/// # Errors
/// [`XmlError`] if this is no XML.
pub fn subscription(answer: &[u8]) -> Result<Option<Subscription>, XmlError> {
    let mut found = Subscription::default();
    walk(answer, |step| {
        if let Step::Leaf(leaf) = step
            && leaf.name() == "Address"
            && leaf.is_in("SubscriptionReference")
            && found.address.is_empty()
        {
            leaf.text.clone_into(&mut found.address);
        }
    })?;
    let mark = "x-wsa:IsReferenceParameter=\"true\"";
    let attributes = format!("xmlns:x-wsa=\"{ADDRESSING}\" {mark}");
    let reference = raw_children(answer, "ReferenceParameters", &attributes)?.concat();
    if reference.len() <= REFERENCE_BYTES_MAX {
        found.reference = reference;
    }
    Ok((!found.address.is_empty()).then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_sent_back_with_their_namespaces() {
        let answer = "<s:Envelope xmlns:s=\"soap\" xmlns:wsa=\"http://www.w3.org/2005/08/addressing\" xmlns:dom=\"urn:d\"><s:Body><CreatePullPointSubscriptionResponse><SubscriptionReference><wsa:Address>http://10.0.0.9/onvif/Events?Idx=3</wsa:Address><wsa:ReferenceParameters xmlns:own=\"urn:o\"> <dom:SubscriptionId own:a=\"1\">3 &amp; 4<dom:x/></dom:SubscriptionId><dom:Other xmlns:dom=\"urn:e\"/></wsa:ReferenceParameters></SubscriptionReference></CreatePullPointSubscriptionResponse></s:Body></s:Envelope>";
        let found = subscription(answer.as_bytes()).unwrap().unwrap();
        assert_eq!(found.address, "http://10.0.0.9/onvif/Events?Idx=3");
        let call = found.renew(600, "id-1");
        // What goes out is XML again, and says the same.
        let message = crate::wire::soap::envelope(Some(&call.header), &call.body);
        let mut leaves = Vec::new();
        walk(message.as_bytes(), |step| match step {
            Step::Leaf(leaf) => leaves.push(format!("{}={}", leaf.name(), leaf.text)),
            Step::Attribute(a) if a.name == "IsReferenceParameter" => {
                leaves.push(a.text.to_owned())
            }
            _ => {}
        })
        .unwrap();
        let wanted = [
            "Action=http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/RenewRequest",
            "MessageID=urn:uuid:id-1",
            "To=http://10.0.0.9/onvif/Events?Idx=3",
            "true",
            "x=",
            "true",
            "Other=",
            "TerminationTime=PT600S",
        ];
        assert_eq!(leaves, wanted);
        assert!(call.header.contains("xmlns:dom=\"urn:d\"") && call.header.contains("3 &amp; 4"));
        assert!(call.header.contains("xmlns:own=\"urn:o\""));
        assert!(
            !call
                .header
                .contains("xmlns:dom=\"urn:d\" xmlns:dom=\"urn:e\"")
        );
    }

    #[test]
    fn one_without_reference_or_address() {
        let bare = "<E><B><R><SubscriptionReference><Address>http://a/1</Address></SubscriptionReference></R></B></E>";
        let found = subscription(bare.as_bytes()).unwrap().unwrap();
        assert_eq!(found.reference, "");
        assert_eq!(subscription(b"<E><B/></E>"), Ok(None));
        assert!(subscription(b"no").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_markup_panics(text in "(<|>|/|ReferenceParameters|SubscriptionReference|Address|x:|xmlns:x='a'| |&amp;|\"){0,30}") {
            let _ = subscription(text.as_bytes());
        }
    }
}
