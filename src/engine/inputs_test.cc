#include "engine/engine_fixture.h"

namespace ember {
namespace {

class Inputs : public EngineFixture {
 protected:
  void SetUp() override {
    join();
    deploy(settings());
  }
};

TEST_F(Inputs, StartAContainerFromZeroAndRunOnItOnceItIsReady) {
  arrive(1);
  const auto start = only<StartContainer>();
  EXPECT_EQ(start.reason, (Reason{ReasonCode::demand, 1, 1}));
  EXPECT_EQ(engine_.explain(InputId{1}), (Reason{ReasonCode::waiting_for_start, 1, 0}));

  started(start.container);
  send(ContainerLoading{start.container});
  EXPECT_TRUE(all<DispatchInput>().empty());
  ready(start.container);
  EXPECT_EQ(only<DispatchInput>().container, start.container);
  EXPECT_EQ(only<DispatchInput>().attempt, 1);
  EXPECT_EQ(engine_.explain(InputId{1}), Reason{ReasonCode::running});

  after(Duration::milliseconds(7));
  finish(1, start.container);
  const auto answer = only<AnswerInput>();
  EXPECT_EQ(answer.input, InputId{1});
  EXPECT_TRUE(answer.report.cold);
  EXPECT_EQ(answer.report.execute_share, Duration::milliseconds(7));
  EXPECT_EQ(engine_.explain(InputId{1}), std::nullopt);
}

TEST_F(Inputs, GoAtOnceToAWarmContainer) {
  const ContainerId container = running_container(1);
  finish(1, container);
  arrive(2);
  EXPECT_EQ(only<DispatchInput>().container, container);
  EXPECT_TRUE(all<StartContainer>().empty());
  finish(2, container);
  EXPECT_FALSE(only<AnswerInput>().report.cold);
}

}  // namespace
}  // namespace ember
