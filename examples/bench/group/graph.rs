//! The graph of neighbors: its parts and its diameter.

use super::net::Net;
use std::collections::{HashMap, VecDeque};

/// Members from which the distances to all others are measured; in a larger group the diameter is
/// the greatest of what is seen from so many.
const SOURCES: usize = 1000;

/// Who is a neighbor of whom, of members that have been there for a while.
pub(super) struct Graph {
    edges: Vec<Vec<u32>>,
}

impl Graph {
    /// Of the members that `count`.
    pub(super) fn of(net: &Net, counts: impl Fn(usize) -> bool) -> Self {
        let members: Vec<usize> = net.present.iter().copied().filter(|m| counts(*m)).collect();
        let of_peer = members.iter().enumerate().filter_map(|(at, &number)| {
            Some((net.members[number].as_ref()?.group.config().near, at as u32))
        });
        let of_peer: HashMap<_, _> = of_peer.collect();
        let mut edges = vec![Vec::new(); members.len()];
        for (at, &number) in members.iter().enumerate() {
            let Some(member) = &net.members[number] else { continue };
            for neighbor in member.group.neighbors() {
                if let Some(&other) = of_peer.get(&neighbor.peer) {
                    edges[at].push(other);
                    edges[other as usize].push(at as u32);
                }
            }
        }
        for list in &mut edges {
            list.sort_unstable();
            list.dedup();
        }
        Self { edges }
    }

    /// The share of the members that are in the largest connected part.
    pub(super) fn connected(&self) -> f64 {
        let mut seen = vec![false; self.edges.len()];
        let mut largest = 0;
        for start in 0..self.edges.len() {
            if !seen[start] {
                let distances = self.distances(start);
                let part = distances.iter().enumerate().filter(|(_, d)| d.is_some());
                largest = largest.max(part.map(|(at, _)| seen[at] = true).count());
            }
        }
        largest as f64 / self.edges.len() as f64
    }

    /// The longest of the shortest ways.
    pub(super) fn diameter(&self) -> u32 {
        let every = self.edges.len().div_ceil(SOURCES).max(1);
        let sources = (0..self.edges.len()).step_by(every);
        sources.flat_map(|start| self.distances(start)).flatten().max().unwrap_or(0)
    }

    fn distances(&self, start: usize) -> Vec<Option<u32>> {
        let mut distances = vec![None; self.edges.len()];
        distances[start] = Some(0);
        let mut queue = VecDeque::from([(start, 0)]);
        while let Some((at, distance)) = queue.pop_front() {
            for &next in &self.edges[at] {
                let next = next as usize;
                if distances[next].is_none() {
                    distances[next] = Some(distance + 1);
                    queue.push_back((next, distance + 1));
                }
            }
        }
        distances
    }
}
