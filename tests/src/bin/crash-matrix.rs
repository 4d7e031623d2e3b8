//! The crash matrix for people: all of it, or one history.

use std::process::ExitCode;

use clap::Parser;
use twinroot_sim::matrix::{Budget, Figures, explore, foot, head, line};
use twinroot_tests::crash::histories::Book;
use twinroot_tests::crash::node::Node;

/// Cuts the power at every effect of every history and looks at what is left.
#[derive(Debug, Parser)]
struct Arguments {
    /// Cut every recovery again, and try more outcomes of each cut
    #[arg(long)]
    full: bool,
    /// Cut no recovery again
    #[arg(long, conflicts_with = "full")]
    single: bool,
    /// Only histories whose name contains this
    #[arg(long)]
    history: Option<String>,
    /// A power cut takes the EFI variables too, in every history
    #[arg(long)]
    forgetful: bool,
    /// Seed of everything that is sampled
    #[arg(long)]
    seed: Option<u64>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut budget = if arguments.full {
        Budget::FULL
    } else {
        Budget::BOUNDED
    };
    budget.threads = arguments.threads.max(1);
    budget.seed = arguments.seed.unwrap_or(budget.seed);
    if arguments.single {
        budget.second_every = 0;
    }
    let book = Book::new();
    let node = Node::new(book.anchor());
    let mut histories = match book.all(&node) {
        Ok(histories) => histories,
        Err(violation) => {
            println!("without a cut: {violation}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.forgetful {
        for history in &mut histories {
            history.start.variables.forgetful = true;
        }
    }
    let wanted = arguments.history.unwrap_or_default();
    println!("seed {}", budget.seed);
    println!("{}", head());
    let mut sum = Figures::default();
    for history in histories
        .iter()
        .filter(|history| history.name.contains(&wanted))
    {
        let figures = explore(history, &node, budget);
        println!("{}", line(history.name, &figures));
        sum.add(figures);
    }
    print!("{}", foot(&sum));
    if sum.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
