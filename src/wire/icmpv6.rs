//! ICMPv6 echo (RFC 4443 section 4).

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const HEADER_BYTES: usize = 8;

/// An echo request that carries `token`; the kernel fills in checksum and, on a ping socket, identifier.
pub fn echo_request(sequence: u16, token: [u8; 16]) -> [u8; HEADER_BYTES + 16] {
    let mut message = [0; HEADER_BYTES + 16];
    message[0] = ECHO_REQUEST;
    message[6..8].copy_from_slice(&sequence.to_be_bytes());
    message[HEADER_BYTES..].copy_from_slice(&token);
    message
}

/// Is this the answer to a request with this token?
pub fn is_echo_reply(message: &[u8], token: [u8; 16]) -> bool {
    message.first() == Some(&ECHO_REPLY) && message.get(HEADER_BYTES..) == Some(&token[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_to_our_question_count() {
        let mut message = echo_request(1, [7; 16]);
        assert!(!is_echo_reply(&message, [7; 16]), "our own question");
        message[0] = ECHO_REPLY;
        assert!(is_echo_reply(&message, [7; 16]));
        assert!(!is_echo_reply(&message, [8; 16]));
        assert!(!is_echo_reply(&message[..20], [7; 16]) && !is_echo_reply(&[], [7; 16]));
    }
}
