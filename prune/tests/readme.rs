//! What the README says of results is what they say.

use pleach_prune::report::{self, PruneResult};

const README: &str = include_str!("../../README.md");

#[test]
fn the_readmes_tables_are_those_of_the_committed_results() {
    let results = [
        include_str!("../results/vgg16-cifar10.json"),
        include_str!("../results/vgg16-cifar10-10x-given/result.json"),
        include_str!("../results/vgg16-cifar10-10x-distilled/result.json"),
    ];
    for result in results {
        let result: PruneResult = serde_json::from_str(result).unwrap();
        let markdown = report::headline(&result).to_markdown();
        let (_, table) = markdown.split_once("\n\n").expect("a title and a table");
        assert!(README.contains(table), "README.md should have this table:\n\n{table}");
    }
}
