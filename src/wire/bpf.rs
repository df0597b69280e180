//! Classic BPF programs (the kernel's Documentation/networking/filter.rst) for packet sockets: what we
//! did not ask for is dropped in the kernel and never wakes us.

/// One instruction, as `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    /// Instructions to skip when the condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    pub k: u32,
}

/// Ports of one filter: jumps reach 255 instructions.
pub const PORTS_MAX: usize = 200;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AT_X: u16 = 0x48;
/// X = 4 * (byte & 15): the length of an IPv4 header.
const LOAD_X_HEADER: u16 = 0xb1;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Not packet data but the kernel's `skb->pkt_type`.
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
/// From here on a packet is for another host, or our own.
const OTHER_HOST: u32 = 3;
const WHOLE: u32 = 0x4_0000;

const ETHERTYPE_AT: u32 = 12;
const ARP_OPERATION_AT: u32 = 20;
const IP_AT: u32 = 14;
const IP_FRAGMENT_AT: u32 = 20;
const IP_PROTOCOL_AT: u32 = 23;
/// Destination port behind an IPv4 header of X bytes.
const UDP_PORT_AT: u32 = IP_AT + 2;

const fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// ARP messages that are for us or for everybody: answers, and questions of hosts that look for us.
pub fn arp() -> Vec<Instruction> {
    vec![
        instruction(LOAD_WORD, PACKET_TYPE, 0, 0),
        instruction(JUMP_GREATER_EQUAL, OTHER_HOST, 5, 0),
        instruction(LOAD_HALF, ETHERTYPE_AT, 0, 0),
        instruction(JUMP_EQUAL, super::arp::ETHERTYPE.into(), 0, 3),
        instruction(LOAD_HALF, ARP_OPERATION_AT, 0, 0),
        instruction(JUMP_GREATER_EQUAL, 3, 1, 0),
        instruction(RETURN, WHOLE, 0, 0),
        instruction(RETURN, 0, 0, 0),
    ]
}

/// IPv4 datagrams of UDP to one of `ports` (at most [`PORTS_MAX`], the rest is left out), and the later
/// fragments of any: those carry no port.
pub fn udp_to(ports: &[u16]) -> Vec<Instruction> {
    let ports = ports.get(..PORTS_MAX).unwrap_or(ports);
    let count = ports.len() as u8;
    // What follows the checks: the loads of the port, one jump for each, drop, accept.
    let mut program = vec![
        instruction(LOAD_WORD, PACKET_TYPE, 0, 0),
        instruction(JUMP_GREATER_EQUAL, OTHER_HOST, 8 + count, 0),
        instruction(LOAD_HALF, ETHERTYPE_AT, 0, 0),
        instruction(JUMP_EQUAL, super::ipv4::ETHERTYPE.into(), 0, 6 + count),
        instruction(LOAD_BYTE, IP_PROTOCOL_AT, 0, 0),
        instruction(JUMP_EQUAL, super::ipv4::UDP.into(), 0, 4 + count),
        instruction(LOAD_HALF, IP_FRAGMENT_AT, 0, 0),
        instruction(JUMP_BITS, super::ipv4::OFFSET_MASK.into(), 3 + count, 0),
        instruction(LOAD_X_HEADER, IP_AT, 0, 0),
        instruction(LOAD_HALF_AT_X, UDP_PORT_AT, 0, 0),
    ];
    for (index, port) in ports.iter().enumerate() {
        let to_accept = count - index as u8;
        program.push(instruction(JUMP_EQUAL, (*port).into(), to_accept, 0));
    }
    program.push(instruction(RETURN, 0, 0, 0));
    program.push(instruction(RETURN, WHOLE, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::arp::Arp;
    use super::super::ipv4::tests::{datagram, fragments};
    use super::*;
    use crate::model::Mac;

    /// The kernel's machine, as far as these programs need it: does it keep the packet?
    fn keeps(program: &[Instruction], packet: &[u8], packet_type: u32) -> bool {
        let load = |at: u32, bytes: u32| -> Option<u32> {
            let part = packet.get(at as usize..(at + bytes) as usize)?;
            Some(part.iter().fold(0, |sum, b| sum << 8 | u32::from(*b)))
        };
        let (mut a, mut x, mut at) = (0, 0, 0);
        loop {
            let step = program[at];
            at += 1;
            let loaded = match step.code {
                LOAD_WORD if step.k == PACKET_TYPE => Some(packet_type),
                LOAD_HALF => load(step.k, 2),
                LOAD_BYTE => load(step.k, 1),
                LOAD_HALF_AT_X => load(x + step.k, 2),
                LOAD_X_HEADER => {
                    let Some(byte) = load(step.k, 1) else {
                        return false;
                    };
                    x = 4 * (byte & 15);
                    continue;
                }
                RETURN => return step.k > 0,
                code => {
                    let holds = match code {
                        JUMP_EQUAL => a == step.k,
                        JUMP_GREATER_EQUAL => a >= step.k,
                        JUMP_BITS => a & step.k != 0,
                        other => panic!("instruction {other:#x}"),
                    };
                    at += usize::from(if holds { step.jt } else { step.jf });
                    continue;
                }
            };
            // A load behind the end ends the program without the packet.
            let Some(loaded) = loaded else { return false };
            a = loaded;
        }
    }

    #[test]
    fn arp_for_us_is_kept_and_nothing_else() {
        let ask = Arp::request(
            Mac([2; 6]),
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::new(192, 0, 2, 9),
        );
        let answer = ask.answered_by(Mac([4; 6])).frame();
        assert!(keeps(&arp(), &answer, 0));
        assert!(keeps(&arp(), &ask.frame(), 1));
        assert!(!keeps(&arp(), &answer, 3), "for another host");
        assert!(!keeps(&arp(), &answer, 4), "sent by ourselves");
        let mut reverse = answer;
        reverse[21] = 3;
        assert!(!keeps(&arp(), &reverse, 0), "reverse ARP");
        assert!(!keeps(&arp(), &datagram(37810, b"x"), 0));
        assert!(!keeps(&arp(), &answer[..20], 0));
    }

    #[test]
    fn udp_to_our_ports_is_kept_and_nothing_else() {
        for ports in [&[37810][..], &[1, 2, 37810], &[37810, 2, 3]] {
            let filter = udp_to(ports);
            assert!(keeps(&filter, &datagram(37810, b"x"), 0), "{ports:?}");
            assert!(keeps(&filter, &datagram(37810, b"x"), 1), "{ports:?}");
            assert!(!keeps(&filter, &datagram(37810, b"x"), 3), "{ports:?}");
            assert!(!keeps(&filter, &datagram(37811, b"x"), 0), "{ports:?}");
            let mut tcp = datagram(37810, b"x");
            tcp[IP_PROTOCOL_AT as usize] = 6;
            assert!(!keeps(&filter, &tcp, 0), "{ports:?}");
            for (index, part) in fragments(37810, &[7; 4000]).iter().enumerate() {
                assert!(keeps(&filter, part, 0), "{ports:?}, fragment {index}");
            }
        }
        assert!(!keeps(&udp_to(&[]), &datagram(37810, b"x"), 0));
        let many: Vec<u16> = (1..=300).collect();
        let filter = udp_to(&many);
        assert!(keeps(&filter, &datagram(1, b""), 0) && keeps(&filter, &datagram(200, b""), 0));
        assert!(!keeps(&filter, &datagram(300, b""), 0));
    }
}
