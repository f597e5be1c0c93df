// Pools that are added to a version: of functions with other parameters or options.
#include "engine/engine_fixture.h"

namespace ember {
namespace {

class VariantsTest : public EngineFixture {
 protected:
  static constexpr PoolId kVariant{7};
  static constexpr FunctionId kVariantLine{70};

  void SetUp() override { join(); }
  void add(const FunctionSettings& settings = {}, PoolId pool = kVariant) {
    send(PoolAdded{kApp, {pool, kVariantLine, settings}});
  }
};

TEST_F(VariantsTest, ServeInputsOfTheirOwnInContainersOfTheirOwn) {
  deploy({});
  add();
  arrive(1, kVariant);
  const StartContainer start = only<StartContainer>();
  EXPECT_EQ(start.pool, kVariant);
  bring_up(start.container);
  EXPECT_EQ(pool(kVariant).running, 1u);
  arrive(2);
  EXPECT_EQ(only<StartContainer>().pool, kPool);
}

TEST_F(VariantsTest, KeepTheirFloorFromTheMomentTheyAreAdded) {
  deploy({});
  FunctionSettings warm;
  warm.scaling.min_containers = 2;
  add(warm);
  EXPECT_EQ(all<StartContainer>().size(), 2u);
}

TEST_F(VariantsTest, AreRetiredWithTheirVersionAndFinishWhatTheyHave) {
  deploy({});
  add();
  arrive(1, kVariant);
  const ContainerId container = only<StartContainer>().container;
  bring_up(container);
  deploy({}, PoolId{2});
  EXPECT_TRUE(pool(kVariant).retired);
  finish(1, container);
  EXPECT_EQ(only<StopContainer>().reason.code, ReasonCode::retired);
  exited(container, ExitCause::stopped);
  EXPECT_FALSE(engine_.pool(kVariant));
}

TEST_F(VariantsTest, HoldTheirOwnMaximumOverVersions) {
  FunctionSettings narrow;
  narrow.scaling.max_containers = 1;
  deploy(narrow);
  add(narrow);
  const ContainerId plain = running_container(1);
  arrive(2, kVariant);  // the function is at its maximum, the variant is not
  const ContainerId old = only<StartContainer>().container;
  bring_up(old);
  deploy(narrow, PoolId{2});
  add(narrow, PoolId{8});
  arrive(3, PoolId{8});
  EXPECT_TRUE(all<StartContainer>().empty());
  finish(2, old);
  exited(old, ExitCause::stopped);
  EXPECT_EQ(only<StartContainer>().pool, PoolId{8});
  finish(1, plain);
}

TEST_F(VariantsTest, EndWithTheirApp) {
  deploy({});
  add();
  arrive(1, kVariant);
  bring_up(only<StartContainer>().container);
  send(AppStopped{kApp});
  EXPECT_EQ(only<FailInput>().code, ErrorCode::cancelled);
}

TEST_F(VariantsTest, OfAnAppThatIsNotDeployedAreIgnored) {
  add();
  EXPECT_FALSE(engine_.pool(kVariant));
  deploy({});
  const ContainerId container = running_container(1);
  send(AppStopped{kApp});
  add();
  EXPECT_FALSE(engine_.pool(kVariant));
  exited(container, ExitCause::stopped);
}

TEST_F(VariantsTest, ThatAreAddedTwiceAreOne) {
  deploy({});
  add();
  const std::uint64_t before = engine_.state_hash();
  add();
  EXPECT_EQ(engine_.state_hash(), before);
}

TEST_F(VariantsTest, ThatADeployDoesNotNameAreGivenUp) {
  deploy({});
  add();
  deploy({});  // the same pool, and no variant
  EXPECT_FALSE(engine_.pool(kVariant));
  EXPECT_FALSE(pool().retired);
}

TEST_F(VariantsTest, ThatLieApartTakeNodesWithoutTheirOwn) {
  join(NodeId{2});
  FunctionSettings two;
  two.scaling.min_containers = 3;
  send(AppDeployed{kApp, {{kPool, kFunction, two, Spread::apart}}});
  const auto starts = all<StartContainer>();
  ASSERT_EQ(starts.size(), 3u);
  EXPECT_EQ(starts[0].node, kNode);
  EXPECT_EQ(starts[1].node, NodeId{2});
  EXPECT_EQ(starts[2].node, kNode);  // together, where no node is without
}

}  // namespace
}  // namespace ember
