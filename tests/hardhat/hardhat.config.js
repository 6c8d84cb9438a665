// The node of `make hardhat`. No compiler runs here: contracts come from Vyper. Contract size is limited as on mainnet, and
// a transaction that fails is mined with its receipt, as on other nodes, instead of becoming an error of the request.
module.exports = {
  networks: {
    hardhat: {
      chainId: 31337,
      hardfork: "prague",
      blockGasLimit: 1_000_000_000,
      allowUnlimitedContractSize: false,
      allowBlocksWithSameTimestamp: true,
      throwOnTransactionFailures: false,
      mining: { auto: true, mempool: { order: "fifo" } },
      initialDate: new Date(Number(process.env.BALLAST_START_S) * 1000).toISOString(),
    },
  },
};
