package bench.rivals

import java.nio.{ByteBuffer, ByteOrder}

import org.apache.spark.graphx.{Edge, EdgeTriplet, Graph, PartitionStrategy, VertexId}
import org.apache.spark.graphx.lib.{ConnectedComponents, LabelPropagation, PageRank}
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.SparkSession
import org.apache.spark.storage.StorageLevel

/** GraphX at work on one file of edges; Python calls it. Each algorithm ends once its result is in memory. */
class GraphX(spark: SparkSession, path: String, weighted: Boolean, partitions: Int) {
  private var graph: Graph[Int, Double] = _
  private var result: RDD[Double] = _

  def load(): Long = {
    val rows = spark.read.parquet(path)
    val edges: RDD[Edge[Double]] =
      if (weighted) {
        rows.select("source", "target", "weight").rdd.map(row => Edge(row.getLong(0), row.getLong(1), row.getDouble(2)))
      } else {
        rows.select("source", "target").rdd.map(row => Edge(row.getLong(0), row.getLong(1), 1.0))
      }
    val level = StorageLevel.MEMORY_ONLY
    graph = Graph
      .fromEdges(edges.repartition(partitions), 0, level, level)
      .partitionBy(PartitionStrategy.EdgePartition2D, partitions)
      .cache()
    graph.vertices.count() + graph.triplets.count()
  }

  /** GraphX's ranks add up to the number of nodes. */
  def pagerank(iterations: Int, jump: Double): Unit = {
    val nodes = graph.numVertices.toDouble
    keep(PageRank.run(graph, iterations, jump).vertices.map(_._2 / nodes))
  }

  def wcc(): Unit = keep(ConnectedComponents.run(graph).vertices.map(_._2.toDouble))

  def cdlp(iterations: Int): Unit = keep(LabelPropagation.run(graph, iterations).vertices.map(_._2.toDouble))

  /** Pregel: whoever comes nearer to the source tells those behind its edges. */
  def distances(source: VertexId): Unit = {
    val begin = graph.mapVertices((id, _) => if (id == source) 0.0 else Double.PositiveInfinity)
    val nearest = begin.pregel(Double.PositiveInfinity)(
      (_, known: Double, offered: Double) => math.min(known, offered),
      (edge: EdgeTriplet[Double, Double]) => {
        val offered = edge.srcAttr + edge.attr
        if (offered < edge.dstAttr) Iterator((edge.dstId, offered)) else Iterator.empty
      },
      (one: Double, other: Double) => math.min(one, other)
    )
    keep(nearest.vertices.map(_._2))
  }

  /** All values, little-endian. */
  def values(): Array[Byte] = {
    val found = result.collect()
    val bytes = ByteBuffer.allocate(8 * found.length).order(ByteOrder.LITTLE_ENDIAN)
    found.foreach(bytes.putDouble)
    bytes.array()
  }

  private def keep(values: RDD[Double]): Unit = {
    if (result != null) result.unpersist()
    result = values.cache()
    result.count()
  }
}
